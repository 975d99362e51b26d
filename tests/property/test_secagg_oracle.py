"""Random runs against an independent account of them: exactly the plain sum, or a refusal that was foreseen.

The account (:class:`Account`) knows nothing of keys, shares or messages. It counts: who uploaded, who confirmed, who
answered, who has opened what before. The sums are Python's integers modulo 2^bits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.secagg import ENCODING, Consortium, Outcome, Silence, plain_sum, run_attempt

from wardround.common.secagg.encoding import Encoding
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.scalars import ScalarSlot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import SiteId
    from wardround.common.secagg.parameters import Threshold
    from wardround.common.secagg.ring import Bits, RingVector

FEW = (3, 3, 4, 4, 5, 5, 6, 7)
MANY = (*FEW, 8, 10, 13)
STAGES = (Silence.BEGIN, Silence.UPLOAD, Silence.UPLOADED, Silence.CONFIRM, Silence.CONFIRMED, Silence.OPEN)
SLOTS = (ScalarSlot("loss", 0.0, 10.0, 0.001), ScalarSlot("patients", 0.0, 5000.0, 1.0))


@dataclass
class Account:
    """What a run must come to, by counting alone."""

    sizes: Threshold
    uploaded: dict[tuple[SiteId, int], tuple[int, int]] = field(default_factory=dict)
    opened: dict[tuple[SiteId, int], tuple[SiteId, ...]] = field(default_factory=dict)

    def expected(self, place: tuple[int, int], model: int, reach: Mapping[SiteId, Silence]) -> Outcome:
        """What an attempt comes to; ``place`` is its session and round, ``reach`` how far each site gets."""
        found = Outcome()
        for site, last in reach.items():
            refuses = self.uploaded.get((site, model), place) != place
            if last > Silence.BEGIN and refuses:
                found.refusals[site] = "WR-1707"
            elif last > Silence.UPLOAD:
                self.uploaded[site, model] = place
        arrived = tuple(site for site, last in reach.items() if last > Silence.UPLOADED and site not in found.refusals)
        if len(arrived) < self.sizes.minimum_sum:
            found.code = "WR-1711"
            return found
        found.survivors = arrived
        active = self.sizes.strength is Strength.ACTIVE
        signed = [site for site in arrived if reach[site] > Silence.CONFIRMED or not active]
        if len(signed) < self.sizes.threshold:
            found.code = "WR-1711"
            return found
        given = 0
        for site in signed:
            if reach[site] > Silence.OPEN and self.opened.setdefault((site, model), arrived) != arrived:
                found.refusals[site] = "WR-1707"
            else:
                given += reach[site] > Silence.OPENED
        found.code = None if given >= self.sizes.threshold else "WR-1711"
        return found


class Case:
    """One random run: sizes, updates, silences, retries, sessions."""

    def __init__(self, number: int, cohorts: tuple[int, ...], tally: Counter[str]) -> None:
        self.draw = np.random.default_rng(number)
        self.tally = tally
        sites = int(self.draw.choice(cohorts))
        strength = Strength.ACTIVE if self.draw.random() < 0.7 else Strength.SEMI_HONEST
        colluding = None if self.draw.random() < 0.5 else int(self.draw.integers(0, sites - 1))
        bits: Bits = 16 if self.draw.random() < 0.5 else 32
        self.encoding = self._encoding(bits, sites) if self.draw.random() < 0.5 else None
        size = int(self.draw.integers(0, 301)) if self.encoding is None else self.encoding.size
        self.consortium = Consortium(
            sites,
            colluding=colluding,
            strength=strength,
            bits=bits,
            size=size,
            weight_cap=1 if self.encoding is None else self.encoding.weight_cap,
            encoding=ENCODING if self.encoding is None else self.encoding.digest,
            seed=number,
        )
        self.uploads: dict[tuple[SiteId, int], RingVector] = {}
        self.weights: dict[tuple[SiteId, int], int] = {}
        self.opened: dict[int, tuple[SiteId, ...]] = {}
        self.session = self.consortium.session(1)
        self.account = Account(self.session.context.sizes)

    def _encoding(self, bits: Bits, sites: int) -> Encoding:
        sizes = self.draw.integers(1, 101, size=int(self.draw.integers(1, 4)))
        tensors = tuple((int(size), float(10.0 ** self.draw.uniform(-4, 2))) for size in sizes)
        cap = 1 if self.draw.random() < 0.5 else int(self.draw.integers(2, 100_000))
        return Encoding(Ring(bits), sites, tensors, cap, SLOTS[: int(self.draw.integers(0, 3))])

    # A run

    def play(self) -> None:
        """One to four rounds of one to three attempts."""
        model = 0
        for number in range(1, int(self.draw.integers(2, 6))):
            # A coordinator that goes on from the same model after a round that failed is refused by those who uploaded.
            model += not (self.draw.random() < 0.2 and model and model not in self.opened)
            if self.draw.random() < 0.3:
                self._next_session()
            self._round(number, model)

    def _next_session(self) -> None:
        consortium, sizes = self.consortium, self.consortium.sizes
        least = max(3, sizes.colluding + 2)
        size = int(self.draw.integers(least, len(consortium.names) + 1))
        cohort = [consortium.names[place] for place in self.draw.permutation(len(consortium.names))[:size]]
        self.session = consortium.session(self.session.context.session + 1, cohort)
        self.account.sizes = self.session.context.sizes
        self.tally["sessions"] += 1

    def _round(self, number: int, model: int) -> None:
        for attempt in range(1, 4):
            outcome = self._attempt(number, attempt, model)
            if outcome.total is not None:
                self.tally["exact in a retry"] += attempt > 1
                return
            if self.draw.random() < 0.15:
                self._next_session()

    def _attempt(self, number: int, attempt: int, model: int) -> Outcome:
        session = self.session.context
        reach = self._reach(session.cohort)
        updates = {site: self._update(site, number, model) for site in session.cohort}
        context = self.consortium.context(self.session, number, attempt, model)
        coordinator = self.consortium.attempt(self.session, context)
        outcome = run_attempt(self.consortium, coordinator, updates, reach)
        expected = self.account.expected((session.session, number), model, reach)
        assert (outcome.code, outcome.survivors, outcome.refusals) == (
            expected.code,
            expected.survivors,
            expected.refusals,
        )
        if outcome.total is None:
            self.tally["refused"] += 1
            self.tally["refused after the survivor set was fixed"] += bool(outcome.survivors)
        else:
            self._check(outcome, model, number)
        self.tally["refusals of sites"] += len(outcome.refusals)
        return outcome

    def _reach(self, cohort: tuple[SiteId, ...]) -> dict[SiteId, Silence]:
        """How far each site gets: all of it, all but a few, or anything."""
        kind = self.draw.random()
        least = self.session.context.sizes.minimum_sum
        count = 0 if kind < 0.2 else len(cohort) - least if kind < 0.7 else len(cohort)
        silent = self.draw.permutation(len(cohort))[:count]
        stages = (*STAGES, Silence.OPENED, Silence.NEVER)
        late = stages if kind < 0.9 else stages[3:]
        drawn = {cohort[place]: late[int(self.draw.integers(len(late)))] for place in silent}
        return {site: drawn.get(site, Silence.NEVER) for site in cohort}

    def _update(self, site: SiteId, number: int, model: int) -> RingVector:
        """The update of a site in a round, computed once."""
        if (site, number) not in self.uploads:
            self.uploads[site, number] = self._computed(site, number, model)
        return self.uploads[site, number]

    def _computed(self, site: SiteId, number: int, model: int) -> RingVector:
        if self.encoding is None:
            return self.consortium.update((site, number, model))
        scale = max(bound for _, bound in self.encoding.tensors)
        update = self.draw.normal(0, scale, self.encoding.parameters).astype(np.float32)
        weight = int(self.draw.integers(0, 2 * self.encoding.weight_cap + 1))
        self.weights[site, number] = weight
        scalars = {slot.name: float(self.draw.uniform(slot.low, slot.high)) for slot in self.encoding.scalars}
        return self.encoding.encode(update, weight=weight, scalars=scalars, random=self.consortium.random).values

    # What must hold of a sum

    def _check(self, outcome: Outcome, model: int, number: int) -> None:
        total, names = outcome.total, outcome.survivors
        assert total is not None
        assert self.opened.setdefault(model, names) == names, "two sums on one model"
        expected = plain_sum([self.uploads[name, number] for name in names], self.consortium.bits)
        assert total.tolist() == expected
        if self.encoding is not None:
            self._check_decoded(self.encoding, expected, names, number)
        self.tally["exact"] += 1
        self.tally["exact without a site"] += len(names) < len(self.session.context.cohort)

    def _check_decoded(self, encoding: Encoding, total: list[int], names: tuple[SiteId, ...], number: int) -> None:
        """The decoded sum is the signed integers times the step, the weight and the counts are the sites'."""
        half = 1 << (encoding.ring.bits - 1)
        decoded = encoding.decode(np.array(total, dtype=encoding.ring.dtype), len(names))
        values = iter(total)
        expected = [
            ((next(values) + half) % (2 * half) - half) * bound / encoding.levels
            for size, bound in encoding.tensors
            for _ in range(size)
        ]
        np.testing.assert_allclose(decoded.total, expected, rtol=2.0**-22, atol=0)  # a few float32 roundings
        assert decoded.weight == sum(min(self.weights[name, number], encoding.weight_cap) for name in names)
        assert set(decoded.counts.values()) <= {len(names)}
        self.tally["decoded"] += 1


def played(cases: range, cohorts: tuple[int, ...]) -> Counter[str]:
    tally: Counter[str] = Counter()
    for number in cases:
        Case(number, cohorts, tally).play()
    return tally


def assert_nothing_trivial(tally: Counter[str], cases: int) -> None:
    """Sums, and refusals of every kind, came up often enough to mean something."""
    often = ("exact", "refused", "exact without a site", "refused after the survivor set was fixed", "decoded")
    for kind in often:
        assert tally[kind] > cases / 4, f"{kind}: {tally[kind]} of {cases} cases"
    for kind in ("exact in a retry", "refusals of sites", "sessions"):
        assert tally[kind] > cases / 10, f"{kind}: {tally[kind]} of {cases} cases"


def test_150_random_runs_are_exact_or_refused_as_foreseen() -> None:
    assert_nothing_trivial(played(range(150), FEW), 150)


@pytest.mark.slow
def test_2000_random_runs_are_exact_or_refused_as_foreseen() -> None:
    assert_nothing_trivial(played(range(1000, 3000), MANY), 2000)
