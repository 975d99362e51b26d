"""The ledger for people: what each study run took, what is left, and how it came to that.

Two figures for epsilon stand side by side. The *enforced* one is what the filter compares with the limit: it holds over
all studies together, also when later ones were chosen by the outcome of earlier ones, and is never below the truth. The
*tight* one (privacy loss distribution) is about one run alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wardround.client.ledger.cost import cost, enforced_epsilon
from wardround.client.ledger.events import LimitSet, Restored, parse_event
from wardround.client.ledger.state import State
from wardround.common.privacy import pld
from wardround.common.privacy.witness import INFINITE, Bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wardround.client.ledger.events import Event
    from wardround.client.ledger.patients import Cohort
    from wardround.client.ledger.state import Run

USUAL_DELTA: Final = 1e-5
"""For display where no finite limit says which delta is meant."""

LOST: Final = "lost"
"""Takes the place of a study's hash for what was lost with a restore."""


@dataclass(frozen=True, slots=True)
class RunAccount:
    """One study run. Epsilons are for each patient of its cohort, add/remove neighbours.

    Attributes:
        run: The study run.
        study: Hash of its study.
        at: When it reserved.
        patients: In its cohort.
        rate: Sampling rate of a step; None: no noise.
        multiplier: Noise multiplier of a step; None: no noise.
        steps: Steps in a round.
        rounds: Rounds reserved.
        begun: Rounds that began.
        again: Computations beyond the first of a round.
        ended: None while it is open, else ``settled`` or ``written off``.
        tight_spent: What was spent, by privacy loss distribution.
        tight_reserved: The same with all rounds that may still begin.
        enforced_spent: What was spent, as the filter counts it, if this were the only run.
    """

    run: str
    study: str
    at: str
    patients: int
    rate: float | None
    multiplier: float | None
    steps: int
    rounds: int
    begun: int
    again: int
    ended: str | None
    tight_spent: float
    tight_reserved: float
    enforced_spent: float


@dataclass(frozen=True, slots=True)
class Accounts:
    """A ledger at one moment.

    Attributes:
        site: Whose; None: there is no ledger.
        events: How many.
        head: Digest of the last one.
        patients: How many patients are in a study's cohort or were.
        withdrawn: How many have withdrawn.
        limit: The limit in force and who set it; None: none is set.
        delta: At which all epsilons here are given.
        lost: What each patient may have borne by events that were lost with a restore.
        spent: Enforced epsilon of the most burdened patient.
        committed: The same with all rounds that may still begin.
        left: Limit less ``committed``; inf where the limit is.
        runs: Study runs in the order of their reservation.
    """

    site: str | None
    events: int
    head: str
    patients: int
    withdrawn: int
    limit: LimitSet | None
    delta: float
    lost: Bound | None
    spent: float
    committed: float
    left: float | None
    runs: tuple[RunAccount, ...]

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: infinite numbers are the text ``infinite``."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["limit"] = None if self.limit is None else self.limit.model_dump(mode="json")
        fields["lost"] = None if self.lost is None else self.lost.model_dump(mode="json")
        fields["runs"] = [_finite({name: getattr(run, name) for name in run.__slots__}) for run in self.runs]
        return _finite(fields)


def accounts(state: State) -> Accounts:
    """The ledger as people read it."""
    limit = state.limits[-1] if state.limits else None
    bound = _bound(state)
    spent = enforced_epsilon(state.totals(lambda run: run.spent_steps), bound, state.lost, state.orders)
    committed = enforced_epsilon(state.totals(lambda run: run.committed_steps), bound, state.lost, state.orders)
    return Accounts(
        site=None if state.opened is None else state.opened.site,
        events=state.sequence,
        head=state.digest.hex(),
        patients=state.patients.in_any({run.reserved.cohort for run in state.runs.values()}),
        withdrawn=len(state.withdrawn),
        limit=limit,
        delta=bound.delta,
        lost=state.lost,
        spent=spent,
        committed=committed,
        left=None if limit is None else _left(limit.limit.number, committed),
        runs=tuple(_run_account(run, state, bound) for run in state.runs.values()),
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the ledger's history.

    Attributes:
        event: Number of the event.
        at: When.
        kind: What happened, of the event's kinds.
        shares: For each study the epsilon that it adds for the patient who is then most burdened, in the order of first
            reservation; they add up to that patient's enforced epsilon. ``LOST`` stands for what a restore lost.
        committed: Enforced epsilon with all rounds that may still begin.
        limit: The limit then in force; None: none.
    """

    event: int
    at: str
    kind: str
    shares: Mapping[str, float]
    committed: float
    limit: float | None


def moments(contents: Iterable[tuple[bytes, bytes]], cohorts: Mapping[str, Cohort], most: int) -> list[Moment]:
    """How the enforced epsilon came about.

    Args:
        contents: Content and digest of every event, in order.
        cohorts: The keys that events speak of.
        most: About how many points are wanted; limits and restores always are points.
    """
    events = list(contents)
    every = max(1, len(events) // most)
    return [
        _moment(state, event)
        for state, event in _replayed(events, cohorts)
        if state.sequence % every == 0 or state.sequence == len(events) or isinstance(event, LimitSet | Restored)
    ]


def _replayed(contents: Iterable[tuple[bytes, bytes]], cohorts: Mapping[str, Cohort]) -> Iterator[tuple[State, Event]]:
    state = State()
    for content, digest in contents:
        event = parse_event(content)
        state.apply(event, digest, cohorts.get(event.cohort) if event.kind == "cohort" else None)
        yield state, event


def _moment(state: State, event: Event) -> Moment:
    bound = _bound(state)
    committed = enforced_epsilon(state.totals(lambda run: run.committed_steps), bound, state.lost, state.orders)
    limit = None if state.limit is None else state.limit.number
    return Moment(state.sequence, event.at, event.kind, _shares(state, bound), committed, limit)


def _shares(state: State, bound: Bound) -> dict[str, float]:
    """What each study adds for the most burdened patient, studies taken in the order of their first reservation."""
    whole = state.totals(lambda run: run.spent_steps)
    if not len(whole):
        return {}
    burdened = max(
        range(len(whole)), key=lambda group: enforced_epsilon(whole[group : group + 1], bound, state.lost, state.orders)
    )
    before = 0.0 if state.lost is None else state.lost.number
    shares = {LOST: before} if before else dict[str, float]()
    counted = set[str]()
    for study in dict.fromkeys(run.reserved.study for run in state.runs.values()):
        counted.add(study)
        totals = state.totals(lambda run: run.spent_steps if run.reserved.study in counted else 0)
        reached = enforced_epsilon(totals[burdened : burdened + 1], bound, state.lost, state.orders)
        shares[study] = 0.0 if math.isinf(before) else reached - before
        before = reached
    return shares


def _run_account(run: Run, state: State, bound: Bound) -> RunAccount:
    reserved = run.reserved
    mechanism = reserved.mechanism
    alone = cost(mechanism, run.spent_steps, state.orders).reshape(1, -1)
    return RunAccount(
        run=reserved.run,
        study=reserved.study,
        at=reserved.at,
        patients=len(state.cohorts[reserved.cohort]),
        rate=None if mechanism is None else mechanism.rate,
        multiplier=None if mechanism is None else mechanism.multiplier,
        steps=reserved.steps,
        rounds=reserved.rounds,
        begun=len(run.computations),
        again=sum(run.computations.values()) - len(run.computations),
        ended="written off" if run.written_off else "settled" if run.settled else None,
        tight_spent=_tight(run, run.spent_steps, bound.delta),
        tight_reserved=_tight(run, run.committed_steps, bound.delta),
        enforced_spent=enforced_epsilon(alone, bound, None, state.orders),
    )


def _tight(run: Run, steps: int, delta: float) -> float:
    if steps == 0:
        return 0.0
    mechanism = run.reserved.mechanism
    return math.inf if mechanism is None else pld.epsilon(mechanism.step, steps, delta)


def _bound(state: State) -> Bound:
    """A bound whose delta epsilons are shown at."""
    if state.limit is None or math.isinf(state.limit.number):
        return Bound(epsilon=1.0, delta=USUAL_DELTA)
    return state.limit


def _left(limit: float, committed: float) -> float:
    return math.inf if math.isinf(limit) else max(0.0, limit - committed)


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: INFINITE if isinstance(value, float) and math.isinf(value) else value for name, value in fields.items()
    }
