"""What a coordinator keeps of a private run: beside its records and vectors the masked sum of an attempt, in ``sum``.

Nothing in here is secret: masked sums, sealed packets, models.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.errors import WardroundError
from wardround.server.rounds.store import RecordFolder, write_durably

if TYPE_CHECKING:
    from wardround.common.secagg.ring import RingVector

_HASH: Final = 32


class FolderStore(RecordFolder):
    """:class:`~wardround.common.secagg.store.CoordinatorStore` in a folder."""

    def keep_sum(self, name: str, values: RingVector) -> None:
        """Keep the masked sum durably under a name; replaces earlier ones."""
        content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        write_durably(self.folder / "sum", _sum_head(name, content) + content)

    def read_sum(self, name: str, values: RingVector) -> None:
        """Read it back into ``values``.

        Raises:
            WardroundError: WR-1714, it is missing, damaged, of another name or size.
        """
        found = self.read_file("sum")
        head, content = found[: 2 * _HASH], found[2 * _HASH :]
        if len(content) != values.nbytes or head != _sum_head(name, content):
            raise WardroundError("WR-1714", "The stored masked sum is damaged, or of another attempt.")
        values[:] = np.frombuffer(content, dtype=values.dtype.newbyteorder("<"))


def _sum_head(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest()
