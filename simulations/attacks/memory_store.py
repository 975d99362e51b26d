"""A hospital's store in memory: the attacks break no disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.secagg.ring import RingVector


class MemoryStore:
    """What :class:`~wardround.common.secagg.store.SiteStore` asks for; it outlives the site's process."""

    def __init__(
        self, records: Mapping[str, bytes] | None = None, sealed: tuple[bytes, RingVector] | None = None
    ) -> None:
        self._records = dict(records or {})
        self._sealed = sealed

    def copy(self) -> Self:
        """The same content, on its own from here on."""
        return type(self)(self._records, self._sealed)

    def get(self, name: str) -> bytes | None:
        """The record, or None."""
        return self._records.get(name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write and erase (None) records."""
        for name, content in changes.items():
            if content is None:
                self._records.pop(name, None)
            else:
                self._records[name] = content

    def seal(self, key: bytes, values: RingVector) -> None:
        """Keep an encoded update under its key."""
        self._sealed = key, values.copy()

    def unseal(self, key: bytes, values: RingVector) -> None:
        """Read the update back.

        Raises:
            WardroundError: WR-1714, there is none under this key.
        """
        if self._sealed is None or self._sealed[0] != key:
            raise WardroundError("WR-1714", "There is no update under this key.")
        np.copyto(values, self._sealed[1])
