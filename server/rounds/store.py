"""What a coordinator keeps of a study run, as files of one folder.

``records`` holds every named record, framed and hashed, written anew as a whole by each commit; vectors have a file
each, and their hash in a record. Every file is written beside its place, synced and renamed: durable, whole or not
there.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.errors import WardroundError
from wardround.common.secagg.framing import Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from wardround.common.vector import Vector

_MAGIC: Final = b"WRRECS\x00\x01"
_HASH: Final = 32
_LONGEST: Final = 1 << 28
_VECTOR: Final = ".f32"
_PARTIAL: Final = ".partial"


class RecordFolder:
    """Named records and vectors in a folder.

    Args:
        folder: Made if it is missing.

    Raises:
        WardroundError: WR-1714, the records are damaged.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "records"
        self._records = _decoded(path.read_bytes()) if path.exists() else {}

    def get(self, name: str) -> bytes | None:
        """The record, or None."""
        return self._records.get(name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write and erase (None) records as one change, durable on return."""
        changed = {**self._records, **changes}
        kept = {name: content for name, content in changed.items() if content is not None}
        write_durably(self.folder / "records", _encoded(kept))
        self._records = kept

    def keep_vector(self, vector: Vector) -> bytes:
        """Keep a float32 vector durably in a file of its own, which is named by its content: none is ever changed.

        Returns:
            Its SHA-256, for the record that refers to it.
        """
        content = vector.astype("<f4", copy=False).tobytes()
        digest = hashlib.sha256(content).digest()
        if not (self.folder / _vector_file(digest)).exists():
            write_durably(self.folder / _vector_file(digest), content)
        return digest

    def read_vector(self, digest: bytes) -> Vector:
        """A writable copy of a vector that was kept.

        Raises:
            WardroundError: WR-1714, it is missing or damaged.
        """
        content = self.read_file(_vector_file(digest))
        if hashlib.sha256(content).digest() != digest:
            raise WardroundError("WR-1714", "A stored vector is damaged.")
        return np.frombuffer(content, dtype="<f4").astype(np.float32)

    def forget_vectors(self, kept: Iterable[bytes]) -> None:
        """Erase every vector but these, and what interrupted writes left."""
        names = {_vector_file(digest) for digest in kept}
        for path in (*self.folder.glob(f"*{_VECTOR}"), *self.folder.glob(f"*{_PARTIAL}")):
            if path.name not in names:
                path.unlink()

    def read_file(self, name: str) -> bytes:
        """A whole file of the folder.

        Raises:
            WardroundError: WR-1714, it cannot be read.
        """
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise WardroundError("WR-1714", f"The stored {name} cannot be read ({type(error).__name__}).") from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old or the new one, whatever happens; durable on return."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _vector_file(digest: bytes) -> str:
    return digest.hex() + _VECTOR


def _encoded(records: Mapping[str, bytes]) -> bytes:
    writer = Writer().u32(len(records))
    for name in sorted(records):
        writer.variable(name.encode()).variable(records[name])
    content = writer.bytes()
    return _MAGIC + hashlib.sha256(content).digest() + content


def _decoded(data: bytes) -> dict[str, bytes]:
    head, content = data[: len(_MAGIC) + _HASH], data[len(_MAGIC) + _HASH :]
    if head != _MAGIC + hashlib.sha256(content).digest():
        raise WardroundError("WR-1714", "The coordinator's records are damaged.")
    reader = Reader(content, "stored records", "WR-1714")
    records = {reader.variable(_LONGEST).decode(): reader.variable(_LONGEST) for _ in range(reader.u32())}
    reader.end()
    return records
