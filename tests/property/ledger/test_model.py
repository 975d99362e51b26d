"""The ledger against a model that counts steps patient by patient and knows no events, groups, files or crashes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.ledgers import NOW, cohort, key, ledger, study
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wardround.client.ledger.accounts import accounts
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import ORDERS, budget, rdp

if TYPE_CHECKING:
    from collections.abc import Callable

MECHANISMS = (SampledGaussian(0.1, 2.0), SampledGaussian(1.0, 8.0), SampledGaussian(0.02, 1.0))
COSTS = tuple(rdp(mechanism, ORDERS) for mechanism in MECHANISMS)
DELTA = 1e-5
Sets = st.frozensets(st.integers(0, 7), min_size=1, max_size=5)
Runs = st.integers(0, 5)


@dataclass
class Asked:
    """A run as the model knows it; counts are of single steps."""

    patients: frozenset[int]
    mechanism: int
    steps: int
    rounds: int
    spent: list[int] = field(default_factory=list)
    open: bool = True

    @property
    def paid(self) -> int:
        return self.steps * len(self.spent)

    @property
    def promised(self) -> int:
        return self.paid + self.steps * (self.rounds - len(set(self.spent))) * self.open


class Model(RuleBasedStateMachine):
    """The same operations on both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger"))
        self.book = ledger(self.folder)
        self.runs: dict[int, Asked] = {}
        self.gone: set[int] = set()
        self.limit = 0.0

    @initialize(epsilon=st.sampled_from([1.0, 3.0]))
    def open(self, epsilon: float) -> None:
        self.change(epsilon)

    @rule(epsilon=st.sampled_from([0.2, 1.0, 2.0, 3.0, 6.0]))
    def change(self, epsilon: float) -> None:
        self.book.set_limit(epsilon, DELTA, admin="Ada", reason="a test", now=NOW)
        self.limit = epsilon

    @rule()
    def another_process(self) -> None:
        self.book = ledger(self.folder)

    @rule(
        run=Runs,
        patients=Sets,
        mechanism=st.sampled_from(range(len(MECHANISMS))),
        steps=st.integers(1, 40),
        rounds=st.integers(1, 4),
    )
    def reserve(self, run: int, patients: frozenset[int], mechanism: int, steps: int, rounds: int) -> None:
        asked, known = Asked(patients, mechanism, steps, rounds), self.runs.get(run)
        if known is not None:
            expected = self.reserved_before(known, asked)
        elif patients & self.gone:
            expected = "WR-1810"
        else:
            expected = "" if self.fits({**self.runs, run: asked}, patients, "promised") else "WR-1807"
            if not expected:
                self.runs[run] = asked
        self.expect(
            expected,
            lambda: self.book.reserve(
                StudyRunId(f"r{run}"),
                study(run),
                cohort(patients),
                mechanism=MECHANISMS[mechanism],
                steps=steps,
                rounds=rounds,
                now=NOW,
            ),
        )

    def reserved_before(self, known: Asked, asked: Asked) -> str:
        if not known.open:
            return "WR-1815"
        if known.patients != asked.patients:
            return "WR-1810"
        same = (known.mechanism, known.steps, known.rounds) == (asked.mechanism, asked.steps, asked.rounds)
        return ("WR-1810" if known.patients & self.gone else "") if same else "WR-1815"

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), number=st.integers(1, 5))
    def spend(self, data: st.DataObject, number: int) -> None:
        run = data.draw(st.sampled_from(sorted(self.runs)))
        known = self.runs[run]
        again = number in known.spent
        if not known.open or number > known.rounds:
            expected = "WR-1815"
        elif known.patients & self.gone:
            expected = "WR-1810"
        else:
            then = Asked(known.patients, known.mechanism, known.steps, known.rounds, [*known.spent, number])
            kind = "promised" if again else "paid"
            expected = "" if self.fits({**self.runs, run: then}, known.patients, kind) else "WR-1807"
            if not expected:
                self.runs[run] = then
        name = StudyRunId(f"r{run}")
        computation = self.book.computations(name, number) + 1
        self.expect(expected, lambda: self.book.spend(name, number, computation, cohort(known.patients), now=NOW))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.runs)))
        self.runs[run].open = False
        self.book.settle(StudyRunId(f"r{run}"), now=NOW)

    @rule(patients=st.frozensets(st.integers(5, 9), min_size=1, max_size=2))
    def withdraw(self, patients: frozenset[int]) -> None:
        self.gone |= patients
        self.book.withdraw(cohort(patients), now=NOW)

    @precondition(lambda self: self.runs)
    @rule()
    def restore_the_newest(self) -> None:
        shutil.copyfile(self.folder / "ledger.sqlite", self.folder / "backup")
        self.book.restore(self.folder / "backup", admin="Ada", reason="a test", now=NOW)
        for known in self.runs.values():
            if known.open:
                known.spent += sorted(set(range(1, known.rounds + 1)) - set(known.spent))
                known.open = False

    @invariant()
    def both_say_the_same(self) -> None:
        state = self.book.state()
        assert set(state.runs) == {f"r{run}" for run in self.runs}
        for run, known in self.runs.items():
            found = state.runs[StudyRunId(f"r{run}")]
            assert (found.spent_steps, found.committed_steps) == (known.paid, known.promised)
        assert state.withdrawn == {bytes.fromhex(key(patient)) for patient in self.gone}
        if self.limit:
            found_all = accounts(state)
            for kind, shown in (("paid", found_all.spent), ("promised", found_all.committed)):
                np.testing.assert_allclose(shown, self.worst(kind), rtol=1e-9)

    def fits(self, runs: dict[int, Asked], patients: frozenset[int], kind: str) -> bool:
        room = budget(self.limit, DELTA, ORDERS)
        return all((self.borne(runs, patient, kind) <= room).any() for patient in patients)

    def borne(self, runs: dict[int, Asked], patient: int, kind: str) -> np.ndarray:
        total = np.zeros(len(ORDERS))
        for known in runs.values():
            if patient in known.patients:
                total += getattr(known, kind) * COSTS[known.mechanism]
        return total

    def worst(self, kind: str) -> float:
        room = budget(1.0, DELTA, ORDERS)
        borne = [self.borne(self.runs, patient, kind) for patient in range(10)]
        return max(max(0.0, 1.0 + float((total - room).min())) if total.any() else 0.0 for total in borne)

    def expect(self, code: str, attempt: Callable[[], object]) -> None:
        if not code:
            attempt()
            return
        with pytest.raises(WardroundError) as refused:
            attempt()
        assert refused.value.code == code

    def teardown(self) -> None:
        assert ledger(self.folder).check().digest == self.book.state().digest
        shutil.rmtree(self.folder)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
