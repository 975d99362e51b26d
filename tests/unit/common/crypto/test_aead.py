"""AES-256-GCM against its published test cases and a textbook implementation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.crypto.aead import TAG_BYTES, seal, unseal

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.binary(min_size=32, max_size=32)


def block(key: bytes, value: int) -> int:
    """AES-256 of one block."""
    encryptor = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305 - the block cipher itself is what is wanted
    return int.from_bytes(encryptor.update(value.to_bytes(16, "big")), "big")


def times(a: int, b: int) -> int:
    """SP 800-38D, algorithm 1: the product in GF(2^128)."""
    product = 0
    for bit in range(127, -1, -1):
        product ^= b if a >> bit & 1 else 0
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def blocks(data: bytes) -> list[int]:
    """The data in blocks of 16 bytes, the last one filled with zeros."""
    return [int.from_bytes(data[start : start + 16].ljust(16, b"\0"), "big") for start in range(0, len(data), 16)]


def gcm(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """SP 800-38D, algorithm 4, for a nonce of 96 bits."""
    first = int.from_bytes(nonce + b"\0\0\0\1", "big")
    stream = b"".join(block(key, first + 1 + i).to_bytes(16, "big") for i in range(len(blocks(plaintext))))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=False))
    lengths = (len(associated) * 8) << 64 | len(plaintext) * 8
    tag = 0
    for value in [*blocks(associated), *blocks(ciphertext), lengths]:
        tag = times(tag ^ value, block(key, 0))
    return ciphertext + (tag ^ block(key, first)).to_bytes(16, "big")


def test_published_cases(root: Path) -> None:
    content = json.loads((root / "tests/vectors/crypto/aes256-gcm.json").read_text())
    under_the_zero_nonce = 0
    for vector in content["vectors"]:
        key, nonce, plaintext, associated = (
            bytes.fromhex(vector[name]) for name in ("key", "nonce", "plaintext", "associated")
        )
        expected = bytes.fromhex(vector["ciphertext"] + vector["tag"])
        assert gcm(key, nonce, plaintext, associated) == expected
        if not any(nonce):
            under_the_zero_nonce += 1
            assert seal(key, plaintext, associated) == expected
    assert (len(content["vectors"]), under_the_zero_nonce) == (4, 2)


@given(KEYS, st.binary(max_size=70), st.binary(max_size=40))
def test_sealing_agrees_with_the_textbook_and_opens(key: bytes, plaintext: bytes, associated: bytes) -> None:
    sealed = seal(key, plaintext, associated)
    assert sealed == gcm(key, bytes(12), plaintext, associated)
    assert len(sealed) == len(plaintext) + TAG_BYTES
    assert unseal(key, sealed, associated) == plaintext


def test_every_change_is_seen() -> None:
    key, sealed = bytes(range(32)), seal(bytes(range(32)), b"shares", b"context")
    assert unseal(key, sealed, b"context") == b"shares"
    flipped = [
        (int.from_bytes(sealed, "big") ^ 1 << bit).to_bytes(len(sealed), "big") for bit in range(len(sealed) * 8)
    ]
    for changed in [*flipped, sealed[:-1], sealed + b"\0", b"", sealed[:TAG_BYTES]]:
        with pytest.raises(ValueError, match="not authentic"):
            unseal(key, changed, b"context")
    with pytest.raises(ValueError, match="not authentic"):
        unseal(key, sealed, b"another")
    with pytest.raises(ValueError, match="not authentic"):
        unseal(bytes(32), sealed, b"context")


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_other_key_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="not 32"):
        seal(bytes(length), b"", b"")
    with pytest.raises(ValueError, match="not 32"):
        unseal(bytes(length), bytes(TAG_BYTES), b"")
