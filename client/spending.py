"""What a study run costs this hospital's patients, and how the ledger hears of it before anything is trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wardround.client.ledger.patients import Cohort
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wardround.client.home import Home
    from wardround.client.hospital import Hospital
    from wardround.common.ids import StudyId
    from wardround.common.privacy.mechanism import SampledGaussian
    from wardround.common.study import Study
    from wardround.common.wire.base import RunContext

LONGEST: Final = 100
"""Characters of a run's name to which something can be added."""

_VALIDATIONS: Final = ".validation"
"""End of the ledger's name for a run's validations, and of no run's."""

Part: TypeAlias = Literal["train", "validation"]


@dataclass(frozen=True)
class Spending:
    """The budget of one study run at one hospital.

    A study without differential privacy costs an infinite epsilon. A hospital that has no ledger has made no promise
    that it could break; its policy alone decides.

    Args:
        hospital: The hospital.
        study: The approved study.
        question: Run, seed and fold.
    """

    hospital: Hospital
    study: Study
    question: RunContext

    def reserve(self) -> None:
        """Set aside what the whole run will cost each training patient; once for a run.

        Raises:
            WardroundError: WR-1807 to WR-1816, some patient cannot pay, or the ledger is not usable.
        """
        if not self._counts:
            return
        promise = self.study.privacy
        if promise is not None:
            self._check_runs()
        self._reserve(
            self.question.run,
            self._cohort("train"),
            None if promise is None else promise.step,
            steps=1 if promise is None else promise.local_steps,
            rounds=self.study.training.rounds,
        )
        if promise is not None and promise.validation is not None and (cohort := self._validation_cohort()):
            paid = promise.validation
            self._reserve(self._validations, cohort, paid.step, steps=1, rounds=paid.times)

    def _reserve(
        self, run: StudyRunId, cohort: Cohort, mechanism: SampledGaussian | None, *, steps: int, rounds: int
    ) -> None:
        ledger = self.hospital.home.ledger
        ledger.reserve(run, self.study.id, cohort, mechanism=mechanism, steps=steps, rounds=rounds, now=_now())

    def _check_runs(self) -> None:
        """Each run of a study costs its patients the study's epsilon: policy says how many there may be.

        A run that was settled before anything was trained in it cost nothing, and nothing is trained in it any more.
        No run has a name that the ledger gives to validations, so what has one is not counted as a run.

        Raises:
            WardroundError: WR-1301, the run has such a name; WR-1712.
        """
        if self.question.run.endswith(_VALIDATIONS):
            raise WardroundError("WR-1301", f"A study run's name does not end in {_VALIDATIONS}.")
        home = self.hospital.home
        home.policy.check_run(self.question.run, paid_runs(home, self.study.id))

    def check_newest(self, number: int) -> None:
        """Refuse to compute round ``number`` when a later one was paid for: the first answer was the only one.

        Where policy allows several runs of a study, a run whose coordinator lost its records may begin anew, and pays
        again.

        Raises:
            WardroundError: WR-1301; WR-1811 to WR-1814, the ledger is not usable.
        """
        known = self.hospital.home.ledger.state().runs.get(self.question.run)
        newest = max(known.computations, default=0) if known is not None else 0
        if number < newest and self.hospital.home.policy.runs_per_study == 1:
            raise WardroundError("WR-1301", f"Round {number} is over: round {newest} was trained since.")

    def spend(self, number: int) -> None:
        """Pay for a computation of round ``number``; durable on return, and only then may training begin.

        Raises:
            WardroundError: WR-1807 to WR-1816, some patient cannot pay, or the ledger is not usable.
        """
        if not self._counts:
            return
        self._spend(self.question.run, number, self._cohort("train"))
        place = self.study.paid_validation(number)
        if place is not None and (cohort := self._validation_cohort()):
            self._spend(self._validations, place, cohort)

    def _spend(self, run: StudyRunId, number: int, cohort: Cohort) -> None:
        ledger = self.hospital.home.ledger
        turn = ledger.computations(run, number) + 1
        ledger.spend(run, number, turn, cohort, now=_now(), witness=self.hospital.home.heard)

    def settle(self) -> None:
        """The run is over here: rounds that never began are free again.

        Raises:
            WardroundError: WR-1811 to WR-1814, the ledger is not usable.
        """
        if not self._counts:
            return
        settle_run(self.hospital.home, self.question.run)

    @property
    def _counts(self) -> bool:
        return self.study.privacy is not None or self.hospital.home.ledger.exists

    @property
    def _validations(self) -> StudyRunId:
        """Under what name the ledger has the run's validations: other patients pay for them."""
        return validations_of(self.question.run)

    def _validation_cohort(self) -> Cohort | None:
        """Everybody whose loss may count in a validation; None where this site has no such patient."""
        return self._cohort("validation") if len(self._indices("validation")) else None

    def _cohort(self, part: Part) -> Cohort:
        """All patients of a part, in every data set of the hospital."""
        indices, patients = self._indices(part), self.hospital.data(self.study).prepared.patients
        if len(indices) == 0:
            raise WardroundError("WR-1306", "This site has no training image for the study.")
        key = self.hospital.home.patient_key
        return Cohort.of(key(patient) for patient in {patients[index] for index in indices})

    def _indices(self, part: Part) -> NDArray[np.int64]:
        parts = self.hospital.data(self.study).parts(self.study, self.question.fold, self.question.folds)
        return parts.train if part == "train" else parts.validation


def settle_run(home: Home, run: StudyRunId) -> None:
    """End a run in the ledger that its coordinator never ended: rounds that never began are free again.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    for name in reserved_names(home, run):
        home.ledger.settle(name, now=_now())


def reserved_names(home: Home, run: StudyRunId) -> tuple[StudyRunId, ...]:
    """Names under which the ledger has an open reservation of a run.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    if not home.ledger.exists:
        return ()
    known = home.ledger.state().runs
    return tuple(name for name in (run, validations_of(run)) if name in known and not known[name].settled)


def validations_of(run: StudyRunId) -> StudyRunId:
    """The ledger's name for the validations of a study run; of a long name, for its SHA-256."""
    short = run if len(run) <= LONGEST else hashlib.sha256(run.encode()).hexdigest()
    return StudyRunId(f"{short}{_VALIDATIONS}")


def paid_runs(home: Home, study: StudyId) -> frozenset[StudyRunId]:
    """Runs of a study that patients pay for; not one that was settled before anything was trained in it.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    runs = {
        run
        for run, kept in home.ledger.state().runs.items()
        if kept.reserved.study == study and (kept.computations or not kept.settled)
    }
    return frozenset(runs - {validations_of(run) for run in runs})


def _now() -> datetime:
    return datetime.now(UTC)
