"""What a ledger's events amount to: a fold over them, without I/O.

Two ledgers with the same events have the same state. Whether an event was allowed is decided before it is recorded
(:mod:`wardround.client.ledger.ledger`); the fold only refuses events that cannot follow upon one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardround.client.ledger.cost import cost
from wardround.client.ledger.events import (
    START,
    CohortSeen,
    LimitSet,
    Opened,
    Reserved,
    Restored,
    Settled,
    Spent,
    Withdrawn,
)
from wardround.client.ledger.patients import Cohort, Histories
from wardround.common.errors import WardroundError
from wardround.common.privacy.rdp import ORDERS
from wardround.common.privacy.witness import Head

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.client.ledger.cost import Cost
    from wardround.client.ledger.events import Event
    from wardround.client.ledger.patients import Totals
    from wardround.common.ids import StudyRunId
    from wardround.common.privacy.witness import Bound


def draws(event: Event) -> bool:
    """Whether an event does no more than draw on a reservation, or names patients.

    What such events took since a backup is known without them: no more than what was reserved.
    """
    return isinstance(event, CohortSeen) or (isinstance(event, Spent) and event.computation == 1)


@dataclass(slots=True)
class Run:
    """A study run's part of the budget.

    Attributes:
        reserved: What it asked for.
        computations: For each round that began, how often it was computed.
        settled: Whether it has ended.
        written_off: Whether it ended by a restore from backup, which counts all it had reserved as spent.
    """

    reserved: Reserved
    computations: dict[int, int] = field(default_factory=dict)
    settled: bool = False
    written_off: bool = False

    @property
    def spent_steps(self) -> int:
        """Steps that were paid for, used or not."""
        if self.written_off:
            return self._all_steps
        return self.reserved.steps * sum(self.computations.values())

    @property
    def committed_steps(self) -> int:
        """Steps that were paid for or may still be begun."""
        return self.spent_steps if self.settled else self._all_steps

    @property
    def open_rounds(self) -> int:
        """Rounds that may still begin."""
        return 0 if self.settled else self.reserved.rounds - len(self.computations)

    @property
    def _all_steps(self) -> int:
        again = sum(self.computations.values()) - len(self.computations)
        return self.reserved.steps * (self.reserved.rounds + again)


class State:
    """What is spent, reserved and allowed.

    Attributes:
        opened: The first event; None: there is no ledger yet.
        sequence: Number of events.
        digest: Of the last one.
        incarnation: The ledger's random name; another after each restore from a backup.
        limit: The limit in force; None: none was set.
        limits: All that were set, with who and why.
        ceiling: The highest there ever was, epsilon and delta each.
        lost: What each patient may have borne besides, by events that were lost.
        runs: Study runs in the order of their reservation.
        cohorts: Sets of patients by digest.
        withdrawn: Keys of patients who take part in nothing any more.
        touched: Digests of cohorts that hold such a patient.
        committed: See :class:`~wardround.common.privacy.witness.Head`.
        restores: For each restore: ``committed`` before it, and the event.
        last: The newest event.
    """

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.sequence = 0
        self.digest = START
        self.incarnation = ""
        self.limit: Bound | None = None
        self.limits: list[LimitSet] = []
        self.ceiling: Bound | None = None
        self.lost: Bound | None = None
        self.runs: dict[StudyRunId, Run] = {}
        self.cohorts: dict[str, Cohort] = {}
        self.withdrawn: set[bytes] = set()
        self.touched: set[str] = set()
        self.committed = START
        self.restores: list[tuple[bytes, Restored]] = []
        self.last: Event | None = None
        self._histories = Histories()

    def head(self) -> Head:
        """Where the ledger stands.

        Raises:
            RuntimeError: There is none.
        """
        if self.opened is None:
            raise RuntimeError("a ledger without events has no head")
        return Head(
            site=self.opened.site,
            incarnation=self.incarnation,
            sequence=self.sequence,
            digest=self.digest.hex(),
            committed=self.committed.hex(),
            ceiling=self.ceiling,
        )

    @property
    def orders(self) -> tuple[float, ...]:
        """Rényi orders of the filter: those of the ledger's first day, whatever a later release would choose.

        The filter's proof fixes them before anything is spent.
        """
        return ORDERS if self.opened is None else self.opened.orders

    @property
    def patients(self) -> Histories:
        """Every patient that was ever in a cohort."""
        return self._histories

    def totals(self, steps: Callable[[Run], int], cohort: Cohort | None = None, more: Reserved | None = None) -> Totals:
        """What each group of patients with the same history bears, ``[groups, orders]``.

        Args:
            steps: How many steps of a run count.
            cohort: Only patients of this cohort, which need not be known yet.
            more: A run that comes on top, all steps of it, on ``cohort``.
        """
        costs: dict[str, Cost] = {}
        for run in (*self.runs.values(), *(() if more is None else (Run(more),))):
            digest = run.reserved.cohort
            count = run.committed_steps if run.reserved is more else steps(run)
            added = cost(run.reserved.mechanism, count, self.orders)
            costs[digest] = costs[digest] + added if digest in costs else added
        return self._histories.totals(costs, len(self.orders), cohort)

    def apply(self, event: Event, digest: bytes, cohort: Cohort | None = None) -> None:
        """Take the next event in.

        Args:
            event: The event.
            digest: Its digest.
            cohort: The keys of the cohort that it makes known; None for other events.

        Raises:
            WardroundError: WR-1811, it cannot follow upon the events before.
        """
        if (self.opened is None) != isinstance(event, Opened):
            raise _misplaced(event)
        self._take(event, cohort)
        if not draws(event):
            self.committed = digest
        self.sequence += 1
        self.digest = digest
        self.last = event

    def _take(self, event: Event, cohort: Cohort | None) -> None:
        match event:
            case Opened():
                self.opened = event
                self.incarnation = event.incarnation
            case LimitSet():
                self.limit = event.limit
                self.limits.append(event)
                self.ceiling = event.limit.joined(self.ceiling)
            case CohortSeen():
                self._see(event, cohort)
            case Reserved():
                self._reserve(event)
            case Spent():
                self._spend(event)
            case Settled():
                self._open_run(event).settled = True
            case Withdrawn():
                self._withdraw(event)
            case Restored():
                self._restore(event)

    def _see(self, event: CohortSeen, cohort: Cohort | None) -> None:
        if cohort is None or (cohort.digest, len(cohort)) != (event.cohort, event.patients):
            raise WardroundError("WR-1811", "The ledger lacks the keys of a cohort.")
        if event.cohort in self.cohorts:
            raise _misplaced(event)
        self.cohorts[event.cohort] = cohort
        self._histories.add(cohort)
        if not self.withdrawn.isdisjoint(cohort):
            self.touched.add(event.cohort)

    def _reserve(self, event: Reserved) -> None:
        if event.run in self.runs or event.cohort not in self.cohorts or self.limit is None:
            raise _misplaced(event)
        self.runs[event.run] = Run(event)

    def _spend(self, event: Spent) -> None:
        run = self._open_run(event)
        if event.round > run.reserved.rounds or event.computation != run.computations.get(event.round, 0) + 1:
            raise _misplaced(event)
        run.computations[event.round] = event.computation

    def _open_run(self, event: Spent | Settled) -> Run:
        run = self.runs.get(event.run)
        if run is None or run.settled:
            raise _misplaced(event)
        return run

    def _withdraw(self, event: Withdrawn) -> None:
        if event.cohort not in self.cohorts:
            raise _misplaced(event)
        for key in self.cohorts[event.cohort]:
            self.withdrawn.add(key)
            self.touched.update(self._histories.cohorts_of(key))

    def _restore(self, event: Restored) -> None:
        for run in self.runs.values():
            if not run.settled:
                run.settled = run.written_off = True
        if event.lost is not None:
            self.lost = event.lost.joined(self.lost)
            self.ceiling = event.lost.joined(self.ceiling)
        self.restores.append((self.committed, event))
        self.incarnation = event.incarnation


def _misplaced(event: Event) -> WardroundError:
    return WardroundError("WR-1811", f"An event {event.kind!r} of the ledger does not follow from those before it.")
