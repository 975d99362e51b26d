"""Our side of ``bench secagg``: whole rounds of the production machines of both sides.

Every site has identity, roster, terms and store; messages are handed over in memory. A site's time
counts from the end of training until its message and its masked update may leave, the
coordinator's from the arrival of all of them until the sum is decoded, without the time that sites
need to answer.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from flwr.app import RecordDict

from wardround.client.secagg.masking import MaskSum
from wardround.common.crypto.keystream import Keystream
from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.roster import Member, Roster
from wardround.common.secagg.context import RoundContext, settings_digest
from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
from wardround.common.secagg.coordinator_session import CoordinatorSession, offer
from wardround.common.secagg.encoding import Encoding
from wardround.common.secagg.parameters import Strength, Threshold, default_colluding
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.shamir import combine, lagrange_weights, split
from wardround.common.secagg.site import Site
from wardround.common.secagg.site_checks import Terms
from wardround.common.wire.records import VECTOR
from wardround.common.wire.rings import pack_ring, unpack_ring
from wardround.simulations.bench.secagg_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flwr.app import ArrayRecord

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.ring import Bits, RingVector
    from wardround.common.secagg.site import Attempt
    from wardround.common.vector import Vector

STUDY: Final = StudyId("sha256:" + 64 * "0")
RUN: Final = StudyRunId("bench")
HEAD: Final = bytes(32)
LAYOUT: Final = bytes(32)
SETTINGS: Final = settings_digest(seed=0, fold=0, folds=1)
WEIGHT_CAP: Final = 1000
"""As Flower's ``max_weight``."""


def sizes_of(sites: int) -> Threshold:
    """The threshold of an active session with the default number of colluding sites."""
    return Threshold(sites, default_colluding(sites), Strength.ACTIVE)


@dataclass(slots=True)
class OurRound:
    """What a round took.

    Attributes:
        client_seconds: Of each site that uploaded.
        server_seconds: From all masked updates to the sum.
        mean: Weighted mean of the updates, shape ``[P]``.
        bytes_up: Of one site: masked update and message.
    """

    client_seconds: list[float] = field(default_factory=list)
    server_seconds: float = 0.0
    mean: Vector = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    bytes_up: int = 0


class Cohort:
    """Sites that have joined a session, and their coordinator.

    Args:
        update: Every site's update, shape ``[P]``.
        weights: Of each site.
        tensors: How many tensors the update is cut into.
        bound: Clipping bound of every tensor.
        bits: Of the ring.
    """

    def __init__(self, update: Vector, weights: Sequence[int], *, tensors: int, bound: float, bits: Bits = 16) -> None:
        self.update = update
        self.sizes = sizes_of(len(weights))
        parts = np.array_split(update, tensors)
        self.encoding = Encoding(
            Ring(bits), len(weights), tuple((part.size, bound) for part in parts), weight_cap=WEIGHT_CAP
        )
        self._disk = np.zeros(self.encoding.size, dtype=self.encoding.ring.dtype)
        keys = {SiteId(f"site-{number:03d}"): SigningKey.generate(os.urandom) for number in range(len(weights))}
        self._weights = dict(zip(keys, weights, strict=True))
        self._roster = Roster(
            schema=1,
            consortium="bench",
            version=1,
            members={site: Member(key=key.public.hex()) for site, key in keys.items()},
        )
        self._session = offer(
            self._roster, STUDY, RUN, settings=SETTINGS, session=1, cohort=list(keys), sizes=self.sizes
        )
        self._sites = {site: self._site(site, key) for site, key in keys.items()}
        self._transcript = self._join()
        self._round = 0

    def _site(self, name: SiteId, key: SigningKey) -> Site:
        terms = Terms(
            study=STUDY,
            run=RUN,
            sites=frozenset(self._weights),
            rounds=1_000_000,
            colluding=self.sizes.colluding,
            strength=self.sizes.strength,
            smallest_cohort=self.sizes.sites,
            layout=LAYOUT,
            encoding=self.encoding.digest,
            ring_bits=self.encoding.ring.bits,
            weight_cap=WEIGHT_CAP,
            settings=SETTINGS,
            smallest_sum=0,
        )
        store = MemoryStore(self._disk)
        return Site(name, identity=key, roster=self._roster, terms=terms, store=store, random=os.urandom)

    def _join(self) -> bytes:
        session = CoordinatorSession(self._session, self._roster)
        for name, site in self._sites.items():
            session.receive_advert(name, site.advertise(session.offer()))
        for name, site in self._sites.items():
            session.receive_joined(name, site.join(session.adverts()))
        return session.transcript

    def play_round(self, *, precomputed: bool, dropped: int = 0) -> OurRound:
        """One round, up to the decoded sum.

        Args:
            precomputed: Whether masks were summed while the site trained, so that this is not in its time.
            dropped: How many sites fall silent before they upload.
        """
        found = OurRound()
        attempt = self._next()
        clock = _Clock()
        with clock:
            coordinator = CoordinatorAttempt(
                self._session,
                attempt,
                roster=self._roster,
                size=self.encoding.size,
                head=HEAD,
                store=MemoryStore(self._disk),
            )
        for name in list(self._sites)[: len(self._sites) - dropped]:
            work = self.client_work(name, attempt, precomputed=precomputed)
            begin = time.perf_counter()
            message, masked = work()
            found.client_seconds.append(time.perf_counter() - begin)
            found.bytes_up = len(message) + sum(len(array.data) for array in masked.values())
            record = RecordDict({VECTOR: masked})
            with clock:
                values = unpack_ring(record, self.encoding.ring, self.encoding.size)
                coordinator.receive_upload(name, message, values)
        found.mean = self._open(coordinator, clock)
        found.server_seconds = clock.seconds
        return found

    def next_client_work(self) -> Callable[[], object]:
        """The first site's work in a round of its own, from the masks on, as a call."""
        return self.client_work(next(iter(self._sites)), self._next(), precomputed=False)

    def client_work(
        self, name: SiteId, context: RoundContext, *, precomputed: bool
    ) -> Callable[[], tuple[bytes, ArrayRecord]]:
        """What a site does after training, as a call that gives its message and its masked update for the wire.

        The steps are those of :meth:`wardround.client.secagg.rounds.PrivateRounds.upload`.
        """
        site, weight = self._sites[name], self._weights[name]
        attempt = site.begin(context.encode(), context.model)
        early = self._summed(attempt) if precomputed else None

        def work() -> tuple[bytes, ArrayRecord]:
            masks = early or self._summed(attempt)
            masked = self._masked(site, masks, weight)
            return site.upload(), pack_ring(masked)

        return work

    def _summed(self, attempt: Attempt) -> MaskSum:
        with MaskSum(self.encoding.ring, self.encoding.size, attempt.seeds, threads=1) as masks:
            return masks  # leaving waits for the sum

    def _masked(self, site: Site, masks: MaskSum, weight: int) -> RingVector:
        encoded = self.encoding.encode(self.update, weight=weight, scalars={}, random=os.urandom)
        site.keep(encoded.values)
        return masks.add(encoded.values)

    def _open(self, coordinator: CoordinatorAttempt, clock: _Clock) -> Vector:
        with clock:
            asked = coordinator.close_uploads()
        confirmations = {name: self._sites[name].confirm(request) for name, request in asked.items()}
        with clock:
            for name, message in confirmations.items():
                coordinator.receive_confirmation(name, message)
            asked = coordinator.close_confirmations()
        openings = {name: self._sites[name].open(request) for name, request in asked.items()}
        with clock:
            for name, message in openings.items():
                coordinator.receive_opening(name, message)
            total = self.encoding.decode(coordinator.reveal(), len(coordinator.uploaded))
        return total.total * np.float32(WEIGHT_CAP / total.weight)

    def _next(self) -> RoundContext:
        self._round += 1
        return RoundContext(
            transcript=self._transcript,
            round=self._round,
            attempt=1,
            model=hashlib.sha256(b"%d" % self._round).digest(),
            layout=LAYOUT,
            encoding=self.encoding.digest,
            ring_bits=self.encoding.ring.bits,
            weight_cap=WEIGHT_CAP,
        )


class _Clock:
    """Adds up the time spent in its blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begin = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begin


def share_secrets(holders: int, threshold: int) -> Callable[[], object]:
    """A call that does what a site does in an attempt: shares of all its secrets, drawn as in production."""
    secrets = [os.urandom(32) for _ in range(holders)]
    return lambda: split(secrets, threshold=threshold, holders=holders, random=_stream())


def recover_secrets(holders: int, threshold: int) -> Callable[[], object]:
    """A call that does what a coordinator does in a round without drops: one secret of every site."""
    secrets = [os.urandom(32) for _ in range(holders)]
    shares = split(secrets, threshold=threshold, holders=holders, random=_stream())

    def work() -> None:
        weights = lagrange_weights(range(1, threshold + 1), threshold=threshold)
        if combine(weights, shares[:threshold]) != secrets:
            raise RuntimeError("the shares gave other secrets")

    return work


def _stream() -> RandomSource:
    """Polynomials are drawn from the stream of a key of their own, as in :mod:`wardround.common.secagg.packets`."""
    stream = Keystream(os.urandom(32))

    def draw(length: int) -> bytes:
        drawn = bytearray(length)
        stream.into(drawn)
        return bytes(drawn)

    return draw
