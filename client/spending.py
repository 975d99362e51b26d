"""What a study run costs this hospital's patients, and how the ledger hears of it before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wardround.client.ledger.patients import Cohort
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.hospital import Hospital
    from wardround.common.study import Study
    from wardround.common.wire.base import RunContext


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
        self.hospital.home.ledger.reserve(
            self.question.run,
            self.study.id,
            self._cohort(),
            mechanism=None if promise is None else promise.step,
            steps=1 if promise is None else promise.local_steps,
            rounds=self.study.training.rounds,
            now=_now(),
        )

    def spend(self, number: int) -> None:
        """Pay for a computation of round ``number``; durable on return, and only then may training begin.

        Raises:
            WardroundError: WR-1807 to WR-1816, some patient cannot pay, or the ledger is not usable.
        """
        if self._counts:
            ledger, run = self.hospital.home.ledger, self.question.run
            ledger.spend(run, number, ledger.computations(run, number) + 1, self._cohort(), now=_now())

    def settle(self) -> None:
        """The run is over here: rounds that never began are free again.

        Raises:
            WardroundError: WR-1811 to WR-1815, the ledger is not usable or knows no such run.
        """
        if self._counts:
            self.hospital.home.ledger.settle(self.question.run, now=_now())

    @property
    def _counts(self) -> bool:
        return self.study.privacy is not None or self.hospital.home.ledger.exists

    def _cohort(self) -> Cohort:
        """Everybody whom the run may train on, in every data set of the hospital."""
        data = self.hospital.data(self.study)
        indices = data.parts(self.study, self.question.fold, self.question.folds).train
        if len(indices) == 0:
            raise WardroundError("WR-1306", "This site has no training image for the study.")
        key = self.hospital.home.patient_key
        return Cohort.of(key(patient) for patient in {data.prepared.patients[index] for index in indices})


def _now() -> datetime:
    return datetime.now(UTC)
