"""What the coordinator keeps of an attempt once the survivor set is fixed, beside the masked sum."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from wardround.common.secagg.context import HASH, RoundContext
from wardround.common.secagg.framing import DAMAGED, Reader, Writer, stored
from wardround.common.secagg.messages import Survivors, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 1 << 24


@dataclass(frozen=True, slots=True)
class CoordinatorRecord:
    """An attempt that can go on after a restart.

    Attributes:
        context: Its round context.
        survivors: U.
        commitments: By site, of its secrets.
        packets: By sender and receiver.
    """

    context: RoundContext
    survivors: Survivors
    commitments: Mapping[int, tuple[bytes, ...]]
    packets: Mapping[int, Mapping[int, bytes]] = field(repr=False)

    def encode(self) -> bytes:
        """For the store: the head of U, and each survivor's upload message as it came."""
        uploads = [
            Upload(position, self.survivors.context, self.commitments[position], self.packets[position]).encode()
            for position in self.survivors.sites
        ]
        writer = Writer().variable(self.context.encode()).fixed(self.survivors.head, HASH)
        writer.u16(len(self.commitments[self.survivors.sites[0]])).u16(len(uploads))
        for upload in uploads:
            writer.variable(upload)
        return writer.bytes()

    @classmethod
    def decode(cls, data: bytes) -> CoordinatorRecord:
        """From the store.

        Raises:
            WardroundError: WR-1714, the record is damaged.
        """
        reader = Reader(data, "stored attempt", DAMAGED)
        context, head = stored("attempt", RoundContext.decode, reader.variable(_LONGEST)), reader.fixed(HASH)
        sites, count = reader.u16(), reader.u16()
        upload = partial(Upload.decode, sites=sites)
        uploads = [stored("upload", upload, reader.variable(_LONGEST)) for _ in range(count)]
        reader.end()
        return cls(
            context,
            Survivors(context.digest, tuple(upload.position for upload in uploads), head),
            {upload.position: upload.commitments for upload in uploads},
            {upload.position: upload.packets for upload in uploads},
        )
