"""Stores and randomness for the machines of the secure sum: kept in memory, crashing, repeatable."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.secagg.ring import RingVector


class RepeatableRandom:
    """Bytes that never repeat within a test, and that the same seed gives again; all of them are remembered."""

    def __init__(self, seed: object) -> None:
        self._seed = repr(seed).encode()
        self.drawn: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        """Fresh bytes."""
        self.drawn.append(hashlib.shake_256(b"%b/%d" % (self._seed, len(self.drawn))).digest(size))
        return self.drawn[-1]


class MemoryStore:
    """Keeps everything in memory; ``writes`` counts the durable steps."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.vectors: dict[bytes | str, RingVector] = {}
        self.writes = 0
        self._sealed: dict[bytes, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.records.get(name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        self.writes += 1
        for name, content in changes.items():
            if content is None:
                self.records.pop(name, None)
            else:
                self.records[name] = bytes(content)

    def seal(self, key: bytes, values: RingVector) -> None:
        """Each key seals one vector: a second, different one under it is the caller's mistake."""
        self.writes += 1
        digest = hashlib.sha256(values.tobytes()).digest()
        assert self._sealed.setdefault(key, digest) == digest, "one key sealed two different updates"
        self.vectors = {key: values.copy()}

    def unseal(self, key: bytes, values: RingVector) -> None:
        self._read(key, values)

    def keep_sum(self, name: str, values: RingVector) -> None:
        self.writes += 1
        self.vectors = {name: values.copy()}

    def read_sum(self, name: str, values: RingVector) -> None:
        self._read(name, values)

    def _read(self, name: bytes | str, values: RingVector) -> None:
        found = self.vectors.get(name)
        if found is None or found.shape != values.shape or found.dtype != values.dtype:
            raise WardroundError("WR-1714", "There is no such vector in the store.")
        values[:] = found


class Crash(Exception):  # noqa: N818  # not an error of the program: the power went out
    """The process ended here."""


class CrashingStore(MemoryStore):
    """A store whose machine fails around its k-th durable write, from 1: just before, or just after, it is on disk.

    A failure happens once; whoever takes the store up again finds what was durable.
    """

    def __init__(self, write: int, side: Literal["before", "after"]) -> None:
        super().__init__()
        self._write, self._side = write, side
        self.crashed = False

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        self._fail("before")
        super().commit(changes)
        self._fail("after")

    def seal(self, key: bytes, values: RingVector) -> None:
        self._fail("before")
        super().seal(key, values)
        self._fail("after")

    def keep_sum(self, name: str, values: RingVector) -> None:
        self._fail("before")
        super().keep_sum(name, values)
        self._fail("after")

    def _fail(self, side: str) -> None:
        due = self._write - 1 if side == "before" else self._write
        if not self.crashed and side == self._side and self.writes == due:
            self.crashed = True
            raise Crash
