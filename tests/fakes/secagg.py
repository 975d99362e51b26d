"""A consortium in memory: sites with real keys, a coordinator, and a test's hand on every message.

Nothing here decides anything about security: sites, checks and the coordinator are the real ones. Around them
stand stores (:mod:`fakes.secagg_stores`) and an observer that sees every seed that a mask was made from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from fakes.secagg_stores import MemoryStore, RepeatableRandom

from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.roster import Member, Roster
from wardround.common.secagg.context import RoundContext, settings_digest
from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
from wardround.common.secagg.coordinator_session import CoordinatorSession, offer
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.parameters import Strength, Threshold, default_colluding
from wardround.common.secagg.site import Attempt, Site
from wardround.common.secagg.site_checks import Terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.ring import Bits, RingVector
    from wardround.common.secagg.site_checks import SiteChecks


STUDY = StudyId("sha256:" + "5" * 64)
RUN = StudyRunId("run-1")
HEAD = hashlib.sha256(b"log head").digest()
SETTINGS = settings_digest(seed=0, fold=0, folds=1)
LAYOUT = hashlib.sha256(b"layout").digest()
ENCODING = hashlib.sha256(b"encoding").digest()


def model_of(number: int) -> bytes:
    """The hash of a global model."""
    return hashlib.sha256(b"model %d" % number).digest()


class MaskLog:
    """Sees every masked vector that leaves, and holds it against all that left before."""

    def __init__(self) -> None:
        self.uses: dict[bytes, dict[tuple[SiteId, bytes], bytes]] = {}

    def left(self, site: SiteId, attempt: Attempt, own: int, masked: RingVector) -> None:
        """A site's masked vector leaves; ``own`` is the position of the site.

        A self mask serves one site, a pair mask two; each of them one round context and one vector.
        """
        context, vector = attempt.context.digest, hashlib.sha256(masked.tobytes()).digest()
        assert len({seed for seed, _ in attempt.seeds}) == len(attempt.seeds), "one seed serves two masks of a site"
        for position, (seed, _) in enumerate(attempt.seeds):
            uses = self.uses.setdefault(seed, {})
            assert uses.setdefault((site, context), vector) == vector, "a seed masked two different vectors"
            assert len({rc for _, rc in uses}) == 1, "a seed served two round contexts"
            assert len(uses) <= (1 if position == own else 2), "a seed served a site that it does not belong to"


class Silence(IntEnum):
    """From where on a site is silent in an attempt; at the odd ones it acted, and its message was lost."""

    BEGIN = 0
    UPLOAD = 2
    UPLOADED = 3
    CONFIRM = 4
    CONFIRMED = 5
    OPEN = 6
    OPENED = 7
    NEVER = 8


@dataclass
class Outcome:
    """What became of an attempt.

    Attributes:
        total: The opened sum, or None.
        survivors: U, once it was fixed.
        code: Why the coordinator did not open, or None.
        refusals: Codes by site.
    """

    total: RingVector | None = None
    survivors: tuple[SiteId, ...] = ()
    code: str | None = None
    refusals: dict[SiteId, str] = field(default_factory=dict)


class Consortium:
    """Sites ``s00``, ``s01``, … of one study run, their stores, and what a coordinator needs.

    Args:
        sites: n.
        colluding: k of every site's terms; the default of the protocol when None.
        strength: Of the study.
        bits: Of the ring.
        size: Ring values in an update.
        rounds: Of the study.
        weight_cap: Of the study.
        encoding: Digest of the encoding.
        seed: Of all randomness.
        checks: Other rules than the sites' own.
    """

    def __init__(
        self,
        sites: int,
        *,
        colluding: int | None = None,
        strength: Strength = Strength.ACTIVE,
        bits: Bits = 16,
        size: int = 24,
        rounds: int = 10,
        weight_cap: int = 1,
        encoding: bytes = ENCODING,
        seed: object = 0,
        checks: SiteChecks | None = None,
    ) -> None:
        self.names = tuple(SiteId(f"s{number:02d}") for number in range(sites))
        self.random = RepeatableRandom((sites, seed))
        self.randoms: dict[SiteId, RandomSource] = {name: RepeatableRandom((sites, seed, name)) for name in self.names}
        self.identities = {name: SigningKey.generate(self.random) for name in self.names}
        members = {name: Member(key=key.public.hex()) for name, key in self.identities.items()}
        self.roster = Roster(consortium="hospitals", version=1, members=members)
        self.sizes = Threshold(sites, default_colluding(sites) if colluding is None else colluding, strength)
        self.size = size
        self.terms = Terms(
            study=STUDY,
            run=RUN,
            sites=frozenset(self.names),
            rounds=rounds,
            colluding=self.sizes.colluding,
            strength=strength,
            smallest_cohort=3,
            layout=LAYOUT,
            encoding=encoding,
            ring_bits=bits,
            weight_cap=weight_cap,
            settings=SETTINGS,
            smallest_sum=0,
        )
        self.bits: Bits = bits
        self._checks = checks
        self.stores: dict[SiteId, MemoryStore] = {name: MemoryStore() for name in self.names}
        self.sites: dict[SiteId, Site] = {}
        self.coordinator_store = MemoryStore()
        self.masks = MaskLog()
        for name in self.names:
            self.restart(name)

    def restart(self, name: SiteId) -> Site:
        """Drop a site's machine and make it again from what is durable."""
        self.sites[name] = Site(
            name,
            identity=self.identities[name],
            roster=self.roster,
            terms=self.terms,
            store=self.stores[name],
            random=self.randoms[name],
            checks=self._checks,
        )
        return self.sites[name]

    # The coordinator's

    def offered(self, number: int = 1, cohort: Sequence[SiteId] | None = None) -> CoordinatorSession:
        """A session that nobody has heard of yet."""
        names = self.names if cohort is None else cohort
        sizes = Threshold(len(names), self.sizes.colluding, self.sizes.strength)
        context = offer(self.roster, STUDY, RUN, settings=SETTINGS, session=number, cohort=names, sizes=sizes)
        return CoordinatorSession(context, self.roster)

    def session(self, number: int = 1, cohort: Sequence[SiteId] | None = None) -> CoordinatorSession:
        """A session that its whole cohort has joined: steps 1 and 2."""
        session = self.offered(number, cohort)
        for name in session.context.cohort:
            session.receive_advert(name, self.sites[name].advertise(session.offer()))
        for name in session.context.cohort:
            session.receive_joined(name, self.sites[name].join(session.adverts()))
        return session

    def context(self, session: CoordinatorSession, number: int = 1, attempt: int = 1, model: int = 1) -> RoundContext:
        """The context of an attempt at round ``number``, as the sites' terms want it."""
        terms = self.terms
        return RoundContext(
            transcript=session.transcript,
            round=number,
            attempt=attempt,
            model=model_of(model),
            layout=terms.layout,
            encoding=terms.encoding,
            ring_bits=self.bits,
            weight_cap=terms.weight_cap,
        )

    def attempt(self, session: CoordinatorSession, context: RoundContext) -> CoordinatorAttempt:
        """The coordinator's side of it."""
        return CoordinatorAttempt(
            session.context, context, roster=self.roster, size=self.size, head=HEAD, store=self.coordinator_store
        )

    # The sites'

    def update(self, seed: object) -> RingVector:
        """An encoded update: any ring values, as a function of the seed."""
        octets = hashlib.shake_256(repr(seed).encode()).digest(self.size * self.bits // 8)
        return np.frombuffer(octets, dtype=f"<u{self.bits // 8}").copy()

    def masked(self, name: SiteId, attempt: Attempt) -> RingVector:
        """What the site would send: its sealed update under the attempt's masks."""
        values = np.empty(self.size, dtype=f"<u{self.bits // 8}")
        self.sites[name].kept(values)
        add_masks(values, attempt.seeds)
        return values

    def upload(self, name: SiteId, coordinator: CoordinatorAttempt, update: RingVector) -> tuple[bytes, RingVector]:
        """All of step 3 at a site; the message and the vector leave."""
        site = self.sites[name]
        attempt = site.begin(coordinator.request(), coordinator.context.model)
        if not attempt.computed:
            site.keep(update)
        masked, message = self.masked(name, attempt), site.upload()
        self.masks.left(name, attempt, coordinator.session.position(name), masked)
        return message, masked


def plain_sum(updates: Iterable[RingVector], bits: int) -> list[int]:
    """The oracle: the sum in Python's integers, modulo 2^bits."""
    return [sum(column) % (1 << bits) for column in zip(*(update.tolist() for update in updates), strict=True)]


def run_attempt(
    consortium: Consortium,
    coordinator: CoordinatorAttempt,
    updates: Mapping[SiteId, RingVector],
    silent: Mapping[SiteId, Silence] | None = None,
) -> Outcome:
    """Steps 3 to 5 with the cohort's sites; a site without an entry in ``silent`` never falls silent."""
    return _Run(consortium, coordinator, updates, silent or {}).outcome()


class _Run:
    def __init__(
        self,
        consortium: Consortium,
        coordinator: CoordinatorAttempt,
        updates: Mapping[SiteId, RingVector],
        silent: Mapping[SiteId, Silence],
    ) -> None:
        self._consortium, self._coordinator = consortium, coordinator
        self._updates, self._silent = updates, silent
        self._found = Outcome()

    def outcome(self) -> Outcome:
        try:
            self._upload()
            asked = self._coordinator.close_uploads()
            self._found.survivors = self._coordinator.uploaded
            self._confirm(asked)
            self._open(self._coordinator.close_confirmations())
            self._found.total = self._coordinator.reveal()
        except WardroundError as error:
            self._found.code = error.code
        return self._found

    def _upload(self) -> None:
        for name in self._coordinator.session.cohort:
            last = self._silent.get(name, Silence.NEVER)
            if last == Silence.BEGIN:
                continue
            with _Refusals(self._found, name):
                if last == Silence.UPLOAD:
                    self._consortium.sites[name].begin(self._coordinator.request(), self._coordinator.context.model)
                    continue
                message, masked = self._consortium.upload(name, self._coordinator, self._updates[name])
                if last > Silence.UPLOADED:
                    self._coordinator.receive_upload(name, message, masked)

    def _confirm(self, asked: Mapping[SiteId, bytes]) -> None:
        for name, request in asked.items():
            last = self._silent.get(name, Silence.NEVER)
            with _Refusals(self._found, name):
                if last > Silence.CONFIRM:
                    message = self._consortium.sites[name].confirm(request)
                    if last > Silence.CONFIRMED:
                        self._coordinator.receive_confirmation(name, message)

    def _open(self, asked: Mapping[SiteId, bytes]) -> None:
        for name, request in asked.items():
            last = self._silent.get(name, Silence.NEVER)
            with _Refusals(self._found, name):
                if last > Silence.OPEN:
                    message = self._consortium.sites[name].open(request)
                    if last > Silence.OPENED:
                        self._coordinator.receive_opening(name, message)


class _Refusals:
    """Notes a site's refusal and goes on with the next site, as a coordinator does."""

    def __init__(self, outcome: Outcome, name: SiteId) -> None:
        self._outcome, self._name = outcome, name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, WardroundError):
            return False
        self._outcome.refusals[self._name] = error.code
        return True
