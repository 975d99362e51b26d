"""What a coordinator keeps of a private run, as files of one folder.

``records`` holds every named record, framed and hashed, written anew as a whole by each commit; ``sum``
holds the masked sum of the attempt in progress; other vectors have a file each, and their hash in a
record. Every file is written beside its place, synced and renamed: durable, whole or not there.
Nothing in here is secret: masked sums, sealed packets, models.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.errors import WardroundError
from wardround.common.secagg.framing import Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardround.common.secagg.ring import RingVector
    from wardround.common.vector import Vector

_MAGIC: Final = b"WRRECS\x00\x01"
_HASH: Final = 32
_LONGEST: Final = 1 << 28


class FolderStore:
    """:class:`~wardround.common.secagg.store.CoordinatorStore` in a folder.

    Args:
        folder: Made if it is missing.

    Raises:
        WardroundError: WR-1714, the records are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
        write_durably(self._folder / "records", _encoded(kept))
        self._records = kept

    def keep_sum(self, name: str, values: RingVector) -> None:
        """Keep the masked sum durably under a name; replaces earlier ones."""
        content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        write_durably(self._folder / "sum", _sum_head(name, content) + content)

    def read_sum(self, name: str, values: RingVector) -> None:
        """Read it back into ``values``.

        Raises:
            WardroundError: WR-1714, it is missing, damaged, of another name or size.
        """
        found = self._read("sum")
        head, content = found[: 2 * _HASH], found[2 * _HASH :]
        if len(content) != values.nbytes or head != _sum_head(name, content):
            raise WardroundError("WR-1714", "The stored masked sum is damaged, or of another attempt.")
        values[:] = np.frombuffer(content, dtype=values.dtype.newbyteorder("<"))

    def keep_vector(self, name: str, vector: Vector) -> bytes:
        """Keep a float32 vector durably in a file of its own.

        Returns:
            Its SHA-256, for the record that refers to it.
        """
        content = vector.astype("<f4", copy=False).tobytes()
        write_durably(self._folder / name, content)
        return hashlib.sha256(content).digest()

    def read_vector(self, name: str, digest: bytes) -> Vector:
        """A writable copy of a vector that was kept.

        Raises:
            WardroundError: WR-1714, it is missing or damaged.
        """
        content = self._read(name)
        if hashlib.sha256(content).digest() != digest:
            raise WardroundError("WR-1714", f"The stored vector {name} is damaged.")
        return np.frombuffer(content, dtype="<f4").astype(np.float32)

    def forget_vectors(self, kept: frozenset[str], suffix: str) -> None:
        """Erase every vector with this suffix that is not in ``kept``."""
        for path in self._folder.glob(f"*{suffix}"):
            if path.name not in kept:
                path.unlink()

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise WardroundError("WR-1714", f"The stored {name} cannot be read ({type(error).__name__}).") from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old or the new one, whatever happens; durable on return."""
    partial = path.with_name(f".{path.name}.partial")
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


def _sum_head(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest()
