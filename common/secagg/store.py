"""What a site and a coordinator must not forget, and how it is kept: an argument of both machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.secagg.ring import RingVector


class Records(Protocol):
    """Named records of one study run, changed all together or not at all."""

    def get(self, name: str) -> bytes | None:
        """The record, or None.

        Raises:
            WardroundError: WR-1714, the store is damaged.
        """

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write and erase (None) records as one change that is durable when this returns.

        Erased content must not remain readable in the store.
        """


class SiteStore(Records, Protocol):
    """What a hospital keeps: records, and the sealed update of the round in progress."""

    def seal(self, key: bytes, values: RingVector) -> None:
        """Keep an encoded update, encrypted under ``key``, durably; replaces an earlier one.

        Each key seals one vector.
        """

    def unseal(self, key: bytes, values: RingVector) -> None:
        """Read the update back into ``values``, shape ``[size]``.

        Raises:
            WardroundError: WR-1714, it is missing, damaged, of another size, or sealed under another key.
        """


class CoordinatorStore(Records, Protocol):
    """What a coordinator keeps: records, and the masked sum of the attempt in progress."""

    def keep_sum(self, name: str, values: RingVector) -> None:
        """Keep the masked sum durably under a name; replaces earlier ones."""

    def read_sum(self, name: str, values: RingVector) -> None:
        """Read it back.

        Raises:
            WardroundError: WR-1714, it is missing, damaged or of another size.
        """
