"""What a session and a round are about: the statements that every key and signature is bound to."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.secagg.framing import Reader, Writer
from wardround.common.secagg.parameters import LARGEST_COHORT, Strength, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.secagg.ring import Bits

PROTOCOL: Final = 2
"""Version of the protocol; sites refuse every other one."""

HASH: Final = 32
"""Bytes of a SHA-256 digest."""

NAME_BYTES: Final = 256
"""Longest name or identifier in a statement."""

_SITE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

_STRENGTHS: Final = (Strength.ACTIVE, Strength.SEMI_HONEST)


@dataclass(frozen=True, slots=True)
class SessionContext:
    """One cohort of one study run, before keys are made.

    Attributes:
        consortium: Name of the consortium.
        members: ``sha256:`` hash of the cohort's identity keys (:meth:`~wardround.common.roster.Roster.entries_hash`):
            every site holds it against the roster that its own people accepted.
        study: The study's hash.
        run: wardround's own durable id of the study run.
        settings: SHA-256 of the run's own settings beside the study: its seed and its fold. They decide which
            patients train, so every site of the cohort must have been told the same ones, once.
        session: Number of the session within the run, from 1; it only goes up.
        cohort: The sites, sorted; a site's position here is its number in every message.
        colluding: k.
        strength: What is assumed of the coordinator.
        threshold: t, as the coordinator computed it; every site compares it with its own.
    """

    consortium: str
    members: str
    study: StudyId
    run: StudyRunId
    settings: bytes
    session: int
    cohort: tuple[SiteId, ...]
    colluding: int
    strength: Strength
    threshold: int

    @property
    def sizes(self) -> Threshold:
        """What follows from n, k and the strength.

        Raises:
            WardroundError: WR-1704, no secure sum exists for them.
        """
        return Threshold(len(self.cohort), self.colluding, self.strength)

    def position(self, site: SiteId) -> int:
        """A site's number, from 0.

        Raises:
            WardroundError: WR-1704, the site is not in the cohort.
        """
        if site not in self.cohort:
            raise WardroundError("WR-1704", f"The cohort does not contain the site {site}.")
        return self.cohort.index(site)

    def encode(self) -> bytes:
        """The one encoding of this statement."""
        writer = Writer().u16(PROTOCOL)
        for text in (self.consortium, self.members, self.study, self.run):
            writer.variable(text.encode())
        writer.fixed(self.settings, HASH).u32(self.session).u16(self.colluding).u8(_STRENGTHS.index(self.strength)).u16(
            self.threshold
        )
        writer.u16(len(self.cohort))
        for site in self.cohort:
            writer.variable(site.encode())
        return writer.bytes()

    @classmethod
    def decode(cls, data: bytes) -> SessionContext:
        """Read a session context.

        Raises:
            WardroundError: WR-1701, it is malformed or of another protocol version; WR-1704, the
                cohort is larger than any secure sum.
        """
        reader = Reader(data, "session offer")
        version = reader.u16()
        if version != PROTOCOL:
            raise WardroundError("WR-1701", f"The session is of protocol version {version}, not {PROTOCOL}.")
        consortium, members, study, run = (_text(reader) for _ in range(4))
        settings = reader.fixed(HASH)
        session, colluding, strength, threshold, sites = (
            reader.u32(),
            reader.u16(),
            reader.u8(),
            reader.u16(),
            reader.u16(),
        )
        if session < 1:
            raise WardroundError("WR-1701", "Sessions are numbered from 1.")
        if strength >= len(_STRENGTHS):
            raise WardroundError("WR-1701", "The session has an unknown strength.")
        if sites > LARGEST_COHORT:
            raise WardroundError("WR-1704", f"The cohort has {sites} sites; {LARGEST_COHORT} is the most.")
        cohort = tuple(_site(reader) for _ in range(sites))
        reader.end()
        return cls(
            consortium=consortium,
            members=members,
            study=StudyId(study),
            run=StudyRunId(run),
            settings=settings,
            session=session,
            cohort=cohort,
            colluding=colluding,
            strength=_STRENGTHS[strength],
            threshold=threshold,
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the statement."""
        return _hash(b"session", self.encode())


def transcript(context: SessionContext, adverts: Sequence[bytes]) -> bytes:
    """T: the hash of the session context and of every site's signed advert, in cohort order."""
    writer = Writer().fixed(context.digest, HASH).u16(len(adverts))
    for advert in adverts:
        writer.variable(advert)
    return _hash(b"transcript", writer.bytes())


def survivor_digest(context: SessionContext, survivors: Sequence[int]) -> bytes:
    """Names a survivor set by its sites, whatever session it is opened in."""
    writer = Writer()
    for site in sorted(context.cohort[position] for position in survivors):
        writer.variable(site.encode())
    return _hash(b"survivors", writer.bytes())


@dataclass(frozen=True, slots=True)
class RoundContext:
    """One attempt of one round: its digest RC enters every key, associated data and signature.

    Attributes:
        transcript: T of the session, 32 bytes.
        round: From 1.
        attempt: From 1, within the round.
        model: SHA-256 of the global model that updates start from, 32 bytes.
        layout: SHA-256 of the model's layout, 32 bytes.
        encoding: Digest of bounds, scales, weights and scalars (:mod:`wardround.common.secagg.encoding`).
        ring_bits: 16 or 32.
        weight_cap: Largest weight of a site.
    """

    transcript: bytes
    round: int
    attempt: int
    model: bytes
    layout: bytes
    encoding: bytes
    ring_bits: Bits
    weight_cap: int

    def encode(self) -> bytes:
        """The one encoding of this statement, 141 bytes."""
        return (
            Writer()
            .fixed(self.transcript, HASH)
            .u32(self.round)
            .u32(self.attempt)
            .fixed(self.model, HASH)
            .fixed(self.layout, HASH)
            .fixed(self.encoding, HASH)
            .u8(self.ring_bits)
            .u32(self.weight_cap)
            .bytes()
        )

    @classmethod
    def decode(cls, data: bytes) -> RoundContext:
        """Read a round context.

        Raises:
            WardroundError: WR-1701, it is malformed.
        """
        reader = Reader(data, "upload request")
        found = cls(
            transcript=reader.fixed(HASH),
            round=reader.u32(),
            attempt=reader.u32(),
            model=reader.fixed(HASH),
            layout=reader.fixed(HASH),
            encoding=reader.fixed(HASH),
            ring_bits=_ring_bits(reader.u8()),
            weight_cap=reader.u32(),
        )
        reader.end()
        return found

    @property
    def digest(self) -> bytes:
        """RC."""
        return _hash(b"round", self.encode())


def _ring_bits(bits: int) -> Bits:
    if bits == 16:
        return 16
    if bits == 32:
        return 32
    raise WardroundError("WR-1701", f"There is no ring of {bits} bits.")


def settings_digest(seed: int, fold: int, folds: int) -> bytes:
    """SHA-256 of a run's own settings: seed of model and sample order, fold, number of folds."""
    return _hash(b"settings", f"{seed}/{fold}/{folds}".encode("ascii"))


def digest_bytes(named: str) -> bytes:
    """The 32 bytes behind ``sha256:<hex>``.

    Raises:
        ValueError: It is not such a name.
    """
    kind, _, digits = named.partition(":")
    digest = bytes.fromhex(digits)
    if kind != "sha256" or len(digest) != HASH:
        raise ValueError("not a sha256 digest")
    return digest


def _hash(purpose: bytes, content: bytes) -> bytes:
    return hashlib.sha256(b"wardround/secagg/" + purpose + b"\x00" + content).digest()


def _site(reader: Reader) -> SiteId:
    name = _text(reader)
    if not _SITE.fullmatch(name):  # it is shown to people and written to logs
        raise WardroundError("WR-1701", "A site of the session has a name that no site can have.")
    return SiteId(name)


def _text(reader: Reader) -> str:
    try:
        return reader.variable(NAME_BYTES).decode()
    except UnicodeDecodeError as error:
        raise WardroundError("WR-1701", "A name in the session is not UTF-8 text.") from error
