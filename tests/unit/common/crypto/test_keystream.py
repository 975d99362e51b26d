"""The AES-256-CTR keystream against NIST SP 800-38A and the block cipher itself."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.crypto.keystream import ZEROS, Keystream, keystream_into

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


def counters(key: bytes, first: int, blocks: int) -> bytes:
    """AES-256 of ``blocks`` counters from ``first`` on, modulo 2^128."""
    encryptor = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305 - the block cipher itself is what is wanted
    return encryptor.update(b"".join((i % 2**128).to_bytes(16, "big") for i in range(first, first + blocks)))


def stream(key: bytes, size: int, offset: int = 0) -> bytes:
    out = bytearray(size)
    keystream_into(key, out, offset=offset)
    return bytes(out)


def test_published_vector(root: Path) -> None:
    content = json.loads((root / "tests/vectors/crypto/aes256-ctr.json").read_text())
    for vector in content["vectors"]:
        key, counter, plaintext, ciphertext = (
            bytes.fromhex(vector[name]) for name in ("key", "counter", "plaintext", "ciphertext")
        )
        mask = stream(key, len(plaintext), offset=16 * int.from_bytes(counter, "big"))
        assert bytes(a ^ b for a, b in zip(plaintext, mask, strict=True)) == ciphertext
    assert len(content["vectors"]) == 1


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**20), st.integers(0, 100))
def test_the_stream_is_the_cipher_of_the_counters_from_zero(key: bytes, first: int, size: int) -> None:
    assert stream(key, size, offset=16 * first) == counters(key, first, 7)[:size]


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 9))
def test_pieces_continue_the_stream(sizes: list[int], first: int) -> None:
    keystream, pieces = Keystream(KEY, 16 * first), b""
    for size in sizes:
        piece = bytearray(size)
        keystream.into(piece)
        pieces += piece
    assert pieces == stream(KEY, sum(sizes), offset=16 * first)


def test_a_long_buffer_is_filled_as_one_stream() -> None:
    size = 2 * len(ZEROS) + 48
    out = np.full(size, 7, dtype=np.uint8)
    keystream_into(KEY, out)
    assert out.tobytes() == counters(KEY, 0, size // 16)


def test_each_of_the_256_bits_of_a_key_changes_the_stream() -> None:
    key = int.from_bytes(KEY, "big")
    streams = [stream((key ^ 1 << bit).to_bytes(32, "big"), 4096) for bit in range(256)]
    assert len({stream(KEY, 4096), *streams}) == 257
    original = int.from_bytes(stream(KEY, 4096), "big")
    changed = [(original ^ int.from_bytes(other, "big")).bit_count() for other in streams]
    assert 0.47 < min(changed) / (4096 * 8) < max(changed) / (4096 * 8) < 0.53  # half of 32,768 bits, within 10 sigma


def test_nothing_of_the_buffers_size_is_allocated() -> None:
    out = np.empty(16 << 20, dtype=np.uint8)
    tracemalloc.start()
    try:
        keystream_into(KEY, out)
        _, peak = tracemalloc.get_traced_memory()
        control = bytes(len(out))
        _, with_a_copy = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert with_a_copy >= len(control)


def test_the_zeros_stay_zero() -> None:
    stream(os.urandom(32), len(ZEROS))
    assert ZEROS.readonly
    assert not any(ZEROS)


def test_the_last_counters_are_reached_and_no_more() -> None:
    last = 16 * (2**128 - 1)
    assert stream(KEY, 16, offset=last) == counters(KEY, -1, 1)
    for offset in (-16, 1, 15, last + 16):
        with pytest.raises(ValueError, match="multiple of 16"):
            Keystream(KEY, offset)


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_other_key_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="not 32"):
        Keystream(bytes(length))


@pytest.mark.parametrize(
    "out",
    [
        memoryview(bytes(16)),
        np.zeros(16, dtype=np.uint32),
        np.zeros(32, dtype=np.uint8)[::2],
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros(16, dtype=np.int8),
    ],
    ids=["read-only", "wide", "strided", "table", "signed"],
)
def test_what_cannot_be_written_as_bytes_is_refused(out: memoryview) -> None:
    Keystream(KEY).into(memoryview(bytearray(16)))
    with pytest.raises(ValueError, match="contiguous, writable bytes"):
        Keystream(KEY).into(out)
