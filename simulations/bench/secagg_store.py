"""Storage of ``bench secagg``: memory that stands for the disk of a site or of the coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.common.secagg.masks import add_keystream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.secagg.ring import RingVector

BLOCK: Final = 1 << 16
"""Ring values that the store encrypts at a time."""


class MemoryStore:
    """Records and vectors of a site or coordinator, in memory; vectors lie in a buffer that many may share.

    Args:
        disk: Stands for the disk, as large as a vector.
    """

    def __init__(self, disk: RingVector) -> None:
        self._records: dict[str, bytes] = {}
        self._disk = disk

    def get(self, name: str) -> bytes | None:
        """See :class:`~wardround.common.secagg.store.Records`."""
        return self._records.get(name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """See :class:`~wardround.common.secagg.store.Records`."""
        for name, record in changes.items():
            if record is None:
                self._records.pop(name, None)
            else:
                self._records[name] = record

    def seal(self, key: bytes, values: RingVector) -> None:
        """See :class:`~wardround.common.secagg.store.SiteStore`; encrypted, as on a real disk."""
        stream = Keystream(key)
        for start in range(0, values.size, BLOCK):
            block = self._disk[start : start + BLOCK]
            stream.into(block.view(np.uint8))
            np.add(block, values[start : start + BLOCK], out=block)

    def unseal(self, key: bytes, values: RingVector) -> None:
        """See :class:`~wardround.common.secagg.store.SiteStore`."""
        np.copyto(values, self._disk)
        add_keystream(values, key, -1)

    def keep_sum(self, name: str, values: RingVector) -> None:
        """See :class:`~wardround.common.secagg.store.CoordinatorStore`."""
        del name
        np.copyto(self._disk, values)

    def read_sum(self, name: str, values: RingVector) -> None:
        """See :class:`~wardround.common.secagg.store.CoordinatorStore`."""
        del name
        np.copyto(values, self._disk)
