"""The messages of the protocol, in the order in which they travel.

Every message has one encoding; its length follows from n, the number of sites in the cohort, and
from the number of survivors. ``decode`` refuses everything else with WR-1701. The masked vector
itself travels beside :class:`Upload` as raw ring values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.secagg.context import HASH
from wardround.common.secagg.framing import Reader, Writer
from wardround.common.secagg.shamir import SHARE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY: Final = 32
"""Bytes of an X25519 public key."""

SIGNATURE: Final = 64
"""Bytes of an Ed25519 signature."""

TAG: Final = 16
"""Bytes that sealing adds to a packet."""

NONCE: Final = 16
"""Bytes of the fresh value that a packet begins with and its key depends on."""


def packet_bytes(sites: int) -> int:
    """Size of one packet: the nonce, a sealed share of b_v and of every s_vw, and the tag."""
    return NONCE + sites * SHARE_BYTES + TAG


@dataclass(frozen=True, slots=True)
class Advert:
    """Step 1, up: a site's ephemeral public keys, signed with its identity key (130 bytes)."""

    position: int
    mask_key: bytes
    share_key: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The message."""
        return _advert(self.position, self.mask_key, self.share_key).fixed(self.signature, SIGNATURE).bytes()

    @classmethod
    def decode(cls, data: bytes) -> Advert:
        """Read the message."""
        reader = Reader(data, "advert message")
        found = cls(reader.u16(), reader.fixed(KEY), reader.fixed(KEY), reader.fixed(SIGNATURE))
        reader.end()
        return found


def advert_statement(session: bytes, position: int, mask_key: bytes, share_key: bytes) -> bytes:
    """What the signature of an advert covers: the session's digest, the position and both keys."""
    return session + _advert(position, mask_key, share_key).bytes()


def _advert(position: int, mask_key: bytes, share_key: bytes) -> Writer:
    return Writer().u16(position).fixed(mask_key, KEY).fixed(share_key, KEY)


ADVERT: Final = 2 + 2 * KEY + SIGNATURE


def encode_adverts(adverts: tuple[bytes, ...]) -> bytes:
    """Step 2, down: every site's advert, in cohort order."""
    return b"".join(adverts)


def decode_adverts(data: bytes, sites: int) -> tuple[bytes, ...]:
    """Read step 2's message: ``sites`` encoded adverts."""
    reader = Reader(data, "adverts message")
    found = tuple(reader.fixed(ADVERT) for _ in range(sites))
    reader.end()
    return found


@dataclass(frozen=True, slots=True)
class Joined:
    """Step 2, up: the site has made its pair keys for this transcript (34 bytes)."""

    position: int
    transcript: bytes

    def encode(self) -> bytes:
        """The message."""
        return Writer().u16(self.position).fixed(self.transcript, HASH).bytes()

    @classmethod
    def decode(cls, data: bytes) -> Joined:
        """Read the message."""
        reader = Reader(data, "joined message")
        found = cls(reader.u16(), reader.fixed(HASH))
        reader.end()
        return found


@dataclass(frozen=True, slots=True)
class Upload:
    """Step 3, up, beside the masked vector.

    Attributes:
        position: The site's.
        context: RC.
        commitments: n hashes: of b_v at the site's own position, of s_vw at w's.
        packets: By receiver, all but the site itself: its sealed shares.
    """

    position: int
    context: bytes
    commitments: tuple[bytes, ...]
    packets: Mapping[int, bytes] = field(repr=False)

    def encode(self) -> bytes:
        """The message."""
        writer = Writer().u16(self.position).fixed(self.context, HASH)
        for commitment in self.commitments:
            writer.fixed(commitment, HASH)
        for receiver in _others(self.position, len(self.commitments)):
            writer.fixed(self.packets[receiver], packet_bytes(len(self.commitments)))
        return writer.bytes()

    @classmethod
    def decode(cls, data: bytes, sites: int) -> Upload:
        """Read the message of a site of a cohort of ``sites``."""
        reader = Reader(data, "upload message")
        position, context = reader.u16(), reader.fixed(HASH)
        _check_position(position, sites, "upload")
        commitments = tuple(reader.fixed(HASH) for _ in range(sites))
        packets = {receiver: reader.fixed(packet_bytes(sites)) for receiver in _others(position, sites)}
        reader.end()
        return cls(position, context, commitments, packets)


@dataclass(frozen=True, slots=True)
class Survivors:
    """The survivor set U that one attempt would open, and the head of the coordinator's log.

    Attributes:
        context: RC.
        sites: Positions, ascending.
        head: 32 bytes.
    """

    context: bytes
    sites: tuple[int, ...]
    head: bytes

    def statement(self) -> bytes:
        """What a confirmation signs."""
        writer = Writer().fixed(self.context, HASH).u16(len(self.sites))
        for position in self.sites:
            writer.u16(position)
        return writer.fixed(self.head, HASH).bytes()

    @classmethod
    def read(cls, reader: Reader, sites: int) -> Survivors:
        """Read the statement at the start of a message; positions must ascend and exist."""
        context, count = reader.fixed(HASH), reader.u16()
        if count > sites:
            raise WardroundError("WR-1701", "A survivor set is larger than the cohort.")
        positions = tuple(reader.u16() for _ in range(count))
        if any(left >= right for left, right in pairwise(positions)):
            raise WardroundError("WR-1701", "A survivor set is not in ascending order, or names a site twice.")
        if positions:
            _check_position(positions[-1], sites, "survivor set")
        return cls(context, positions, reader.fixed(HASH))


@dataclass(frozen=True, slots=True)
class ConfirmRequest:
    """Step 4, down: U, and the packets that U's sites made for this receiver."""

    survivors: Survivors
    packets: Mapping[int, bytes] = field(repr=False)

    def encode(self, sites: int) -> bytes:
        """The message to one site of a cohort of ``sites``."""
        return self.survivors.statement() + _encode_packets(self.packets, sites)

    @classmethod
    def decode(cls, data: bytes, sites: int) -> ConfirmRequest:
        """Read the message."""
        reader = Reader(data, "confirm request message")
        survivors = Survivors.read(reader, sites)
        packets = _read_packets(reader, sites)
        reader.end()
        return cls(survivors, packets)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Step 4, up: a site's signature over U (98 bytes)."""

    position: int
    context: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The message."""
        return Writer().u16(self.position).fixed(self.context, HASH).fixed(self.signature, SIGNATURE).bytes()

    @classmethod
    def decode(cls, data: bytes) -> Confirmation:
        """Read the message."""
        reader = Reader(data, "confirmation message")
        found = cls(reader.u16(), reader.fixed(HASH), reader.fixed(SIGNATURE))
        reader.end()
        return found


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Step 5, down: U with the signatures over it; semi-honest: with the packets instead."""

    survivors: Survivors
    signatures: Mapping[int, bytes]
    packets: Mapping[int, bytes] = field(repr=False)

    def encode(self, sites: int) -> bytes:
        """The message to one site of a cohort of ``sites``."""
        writer = Writer().u16(len(self.signatures))
        for position in sorted(self.signatures):
            writer.u16(position).fixed(self.signatures[position], SIGNATURE)
        return self.survivors.statement() + writer.bytes() + _encode_packets(self.packets, sites)

    @classmethod
    def decode(cls, data: bytes, sites: int) -> OpenRequest:
        """Read the message."""
        reader = Reader(data, "open request message")
        survivors = Survivors.read(reader, sites)
        signatures = _read_by_site(reader, sites, SIGNATURE, "signatures")
        packets = _read_packets(reader, sites)
        reader.end()
        return cls(survivors, signatures, packets)


@dataclass(frozen=True, slots=True)
class Opening:
    """Step 5, up: shares of b_v for v in U, then of s_vu for v in U and u outside, in that order.

    Attributes:
        position: The site's.
        context: RC.
        shares: ``|U| (1 + n - |U|)`` shares.
    """

    position: int
    context: bytes
    shares: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The message."""
        return Writer().u16(self.position).fixed(self.context, HASH).bytes() + self.shares

    @classmethod
    def decode(cls, data: bytes, sites: int, survivors: int) -> Opening:
        """Read the message of a site of a cohort of ``sites``, of whom ``survivors`` are in U."""
        reader = Reader(data, "opening message")
        found = cls(reader.u16(), reader.fixed(HASH), reader.fixed(survivors * (1 + sites - survivors) * SHARE_BYTES))
        reader.end()
        return found


class Stage(IntEnum):
    """Where an attempt ended."""

    UPLOAD = 1
    CONFIRM = 2
    OPEN = 3


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """Down, when an attempt ends without a sum: who was there, and how many were needed.

    What a site tells its people about leakage comes from its own records, never from this message.
    """

    context: bytes
    stage: Stage
    needed: int
    present: tuple[int, ...]

    def encode(self) -> bytes:
        """The message."""
        survivors = Survivors(self.context, self.present, bytes(HASH))
        return survivors.statement() + Writer().u8(self.stage).u16(self.needed).bytes()

    @classmethod
    def decode(cls, data: bytes, sites: int) -> AttemptEnded:
        """Read the message."""
        reader = Reader(data, "attempt ended message")
        found = Survivors.read(reader, sites)
        stage, needed = reader.u8(), reader.u16()
        reader.end()
        if found.head != bytes(HASH):
            raise WardroundError("WR-1701", "An attempt that ended has no log head.")
        if stage not in set(Stage):
            raise WardroundError("WR-1701", "An attempt ended at an unknown stage.")
        return cls(found.context, Stage(stage), needed, found.sites)


def _others(position: int, sites: int) -> list[int]:
    return [other for other in range(sites) if other != position]


def _check_position(position: int, sites: int, what: str) -> None:
    if position >= sites:
        raise WardroundError("WR-1701", f"The {what} names site number {position} of a cohort of {sites}.")


def _encode_packets(packets: Mapping[int, bytes], sites: int) -> bytes:
    writer = Writer().u16(len(packets))
    for sender in sorted(packets):
        writer.u16(sender).fixed(packets[sender], packet_bytes(sites))
    return writer.bytes()


def _read_packets(reader: Reader, sites: int) -> dict[int, bytes]:
    return _read_by_site(reader, sites, packet_bytes(sites), "packets")


def _read_by_site(reader: Reader, sites: int, length: int, what: str) -> dict[int, bytes]:
    """A list of a position and so many bytes each; positions ascend, so that a list has one encoding."""
    found: dict[int, bytes] = {}
    for _ in range(reader.u16()):
        position = reader.u16()
        _check_position(position, sites, f"list of {what}")
        if found and position <= max(found):
            raise WardroundError("WR-1701", f"The list of {what} is not in ascending order, or names a site twice.")
        found[position] = reader.fixed(length)
    return found
