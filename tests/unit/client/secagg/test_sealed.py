"""Sealed files: opened by their key alone, whole or refused."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.client.secagg.sealed import CHUNK, read_sealed, sealed_length, write_sealed
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
HEADER, TAG = 32, 16


def sealed(path: Path, content: bytes, key: bytes = KEY) -> Path:
    write_sealed(path, key, memoryview(content), os.urandom)
    return path


def opened(path: Path, length: int, key: bytes = KEY) -> bytes:
    content = bytearray(length)
    read_sealed(path, key, memoryview(content))
    return bytes(content)


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17])
def test_content_of_any_length_comes_back(length: int, tmp_path: Path) -> None:
    content = os.urandom(length)
    path = sealed(tmp_path / "file", content)
    assert opened(path, length) == content
    assert sealed_length(path) == length
    assert path.stat().st_mode & 0o077 == 0
    assert path.stat().st_size == HEADER + length + TAG * max(1, -(-length // CHUNK))
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def refused(path: Path, length: int, key: bytes = KEY) -> None:
    with pytest.raises(WardroundError) as error:
        opened(path, length, key)
    assert error.value.code == "WR-1714"


def test_another_key_or_length_opens_nothing(tmp_path: Path) -> None:
    path = sealed(tmp_path / "file", b"x" * 100)
    refused(path, 100, bytes(32))
    refused(path, 99)
    refused(path, 101)
    refused(tmp_path / "missing", 100)
    assert opened(path, 100) == b"x" * 100


def chunks(path: Path) -> tuple[bytes, list[bytes]]:
    content = path.read_bytes()
    size = CHUNK + TAG
    return content[:HEADER], [content[at : at + size] for at in range(HEADER, len(content), size)]


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [0, 1], [0, 0, 2], [0, 1, 2, 2], [2]])
def test_chunks_in_another_order_or_number_are_refused(order: list[int], tmp_path: Path) -> None:
    path = sealed(tmp_path / "file", os.urandom(3 * CHUNK))
    header, parts = chunks(path)
    path.write_bytes(header + b"".join(parts[place] for place in order))
    refused(path, 3 * CHUNK)
    path.write_bytes(header + b"".join(parts))
    opened(path, 3 * CHUNK)


def test_a_chunk_of_another_file_under_the_same_key_is_refused(tmp_path: Path) -> None:
    first, second = (sealed(tmp_path / name, os.urandom(2 * CHUNK)) for name in ("first", "second"))
    header, parts = chunks(first)
    first.write_bytes(header + parts[0] + chunks(second)[1][1])
    refused(first, 2 * CHUNK)
    assert chunks(second)[0] != header, "the same key never meets the same salt"


@settings(max_examples=60)
@given(data=st.data())
def test_every_changed_or_missing_byte_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = sealed(tmp_path_factory.mktemp("sealed") / "file", b"y" * 60)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    refused(path, 60)


def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    content = bytearray(24 * CHUNK)
    tracemalloc.start()
    write_sealed(tmp_path / "file", KEY, memoryview(content), os.urandom)
    read_sealed(tmp_path / "file", KEY, memoryview(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * CHUNK
