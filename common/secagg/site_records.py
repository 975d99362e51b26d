"""What a site keeps between messages: its session, its attempt, its update, the models it has served.

Every record is replaced whole in one commit of :class:`~wardround.common.secagg.store.Records`.
Secrets lie in them, so none of them is ever printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wardround.common.secagg.context import HASH, RoundContext, SessionContext
from wardround.common.secagg.framing import DAMAGED, Reader, Writer, stored
from wardround.common.secagg.keys import LINK, PairChains
from wardround.common.secagg.messages import ADVERT

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION: Final = "session"
ATTEMPT: Final = "attempt"
UPDATE: Final = "update"
LEFT: Final = "left"
MODEL: Final = "model/"
"""Names of records of what became of a model begin so; there is one from the first upload on that model on."""

LEAVING: Final = {LEFT: b"\x01", SESSION: None, ATTEMPT: None, UPDATE: None}
"""The commit with which a site leaves a run for good."""

_LONGEST: Final = 1 << 20


def model_record(model: bytes) -> str:
    """Name of the record of what became of a model."""
    return f"{MODEL}{model.hex()}"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The newest session.

    Attributes:
        context: What it is about.
        advert: The site's own signed advert, 130 bytes.
        private: Both ephemeral private keys, 64 bytes; empty once the chains exist.
        transcript: T; empty until the site has joined.
        round: The round that the chains stand at.
        chains: By position of the peer.
    """

    context: SessionContext
    advert: bytes
    private: bytes = field(repr=False)
    transcript: bytes = b""
    round: int = 1
    chains: Mapping[int, PairChains] = field(default_factory=dict, repr=False)

    def encode(self) -> bytes:
        """For the store."""
        writer = Writer().variable(self.context.encode()).fixed(self.advert, ADVERT)
        writer.variable(self.private).variable(self.transcript).u32(self.round).u16(len(self.chains))
        for position, chains in sorted(self.chains.items()):
            writer.u16(position).fixed(chains.mask, LINK).fixed(chains.packet, LINK)
        return writer.bytes()

    @classmethod
    def decode(cls, data: bytes) -> SessionRecord:
        """From the store.

        Raises:
            WardroundError: WR-1714, the record is damaged.
        """
        reader = Reader(data, "stored session", DAMAGED)
        context = stored("session", SessionContext.decode, reader.variable(_LONGEST))
        advert, private, transcript = reader.fixed(ADVERT), reader.variable(2 * LINK), reader.variable(HASH)
        number, count = reader.u32(), reader.u16()
        chains = {reader.u16(): PairChains(reader.fixed(LINK), reader.fixed(LINK)) for _ in range(count)}
        reader.end()
        return cls(context, advert, private, transcript, number, chains)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """The newest attempt of the newest round.

    Attributes:
        context: Its round context; RC is its digest.
        self_mask: b_v, fresh from the operating system.
        sharing: Key of the stream that the polynomials are drawn from, fresh likewise.
        uploaded: Whether the masked update may have left.
        survivors: The statement of U that was confirmed; empty before.
        signature: Over that statement; empty in a semi-honest session.
        opening: The shares that would open U.
        opened: Whether they may have left.
    """

    context: RoundContext
    self_mask: bytes = field(repr=False)
    sharing: bytes = field(repr=False)
    uploaded: bool = False
    survivors: bytes = b""
    signature: bytes = b""
    opening: bytes = field(default=b"", repr=False)
    opened: bool = False

    def encode(self) -> bytes:
        """For the store."""
        writer = Writer().variable(self.context.encode()).fixed(self.self_mask, LINK).fixed(self.sharing, LINK)
        writer.u8(self.uploaded).u8(self.opened)
        return writer.variable(self.survivors).variable(self.signature).variable(self.opening).bytes()

    @classmethod
    def decode(cls, data: bytes) -> AttemptRecord:
        """From the store.

        Raises:
            WardroundError: WR-1714, the record is damaged.
        """
        reader = Reader(data, "stored attempt", DAMAGED)
        context = stored("attempt", RoundContext.decode, reader.variable(_LONGEST))
        self_mask, sharing = reader.fixed(LINK), reader.fixed(LINK)
        uploaded, opened = bool(reader.u8()), bool(reader.u8())
        survivors, signature, opening = (reader.variable(_LONGEST) for _ in range(3))
        reader.end()
        return cls(context, self_mask, sharing, uploaded, survivors, signature, opening, opened)


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """The update of the round in progress: computed once, sealed, masked anew by every attempt.

    Attributes:
        round: Its round.
        model: The model it starts from.
        key: What it is sealed under; erasing it erases the update. Zeros until it is sealed.
        sealed: Whether the sealed update is complete.
    """

    round: int
    model: bytes
    key: bytes = field(default=bytes(LINK), repr=False)
    sealed: bool = False

    def encode(self) -> bytes:
        """For the store."""
        writer = Writer().u32(self.round).fixed(self.model, HASH).fixed(self.key, LINK)
        return writer.u8(self.sealed).bytes()

    @classmethod
    def decode(cls, data: bytes) -> UpdateRecord:
        """From the store.

        Raises:
            WardroundError: WR-1714, the record is damaged.
        """
        reader = Reader(data, "stored update", DAMAGED)
        found = cls(reader.u32(), reader.fixed(HASH), reader.fixed(LINK), bool(reader.u8()))
        reader.end()
        return found


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What became of a model: kept for ever, a line a round.

    Attributes:
        session: Number of the session in which the update on it was uploaded.
        round: And the round.
        opened: Digest of the survivor set by name that this site helped to open; empty for none.
    """

    session: int
    round: int
    opened: bytes = b""

    def encode(self) -> bytes:
        """For the store."""
        return Writer().u32(self.session).u32(self.round).variable(self.opened).bytes()

    @classmethod
    def decode(cls, data: bytes) -> ModelRecord:
        """From the store.

        Raises:
            WardroundError: WR-1714, the record is damaged.
        """
        reader = Reader(data, "stored model record", DAMAGED)
        found = cls(reader.u32(), reader.u32(), reader.variable(HASH))
        reader.end()
        return found
