"""What a site puts into the secure sum of a round: trained, validated, encoded. Computed once a round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.client.hospital import Work
from wardround.client.noisy import NoisyWork
from wardround.client.secagg.optimizer_state import keep_state, newest_state
from wardround.client.spending import Spending
from wardround.common.algorithms import fedavg
from wardround.common.errors import WardroundError
from wardround.common.rounds.encodings import TRAINING_LOSS, VALIDATION_LOSS, encoding_of
from wardround.common.rounds.work import consumed_before, is_validated, own_total, samples_in
from wardround.common.secagg.encoding import EncodedUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.client.hospital import Hospital
    from wardround.client.secagg.store import SiteFiles
    from wardround.client.train.noisy import NoisySum
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.encoding import Encoding
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.base import RunContext

_ROUNDING: Final = 1 / math.sqrt(12)
"""Root mean square of what rounding to the lattice moves a real by, lattice units."""


@dataclass(frozen=True)
class Contribution:
    """A site's part in one round.

    What it does is fixed by the approved study and the number of the round: how many images, whether the
    model is validated, which numbers ride along. No message changes any of it.

    Args:
        hospital: The hospital.
        study: The approved study, private.
        question: Run, seed and fold.
        number: The round, from 1; one after the study's last it is the last validation.
        files: The run's records.
        random: The operating system's randomness.
    """

    hospital: Hospital
    study: Study
    question: RunContext
    number: int
    files: SiteFiles
    random: RandomSource

    def encoded(self, vector: Vector) -> EncodedUpdate:
        """Train and validate from the model that arrived, shape ``[P]``, and encode the result.

        Raises:
            WardroundError: WR-12xx or WR-1306, the site cannot train; WR-1710, the update is not finite; WR-18xx, its
                patients cannot pay for the round.
        """
        layout = self.hospital.model(self.study).layout
        self.hospital.load(self.study, vector, layout.hash)
        encoding = encoding_of(self.study, layout, self.number)
        if self.study.privacy is not None:
            return self._noisy(vector, encoding)
        numbers = self._validation()
        if self.number > self.study.training.rounds:
            nothing = np.zeros(encoding.parameters, dtype=np.float32)
            return encoding.encode(nothing, weight=0, scalars=numbers, random=self.random)
        numbers |= self._train()
        update = fedavg.site_update(self.hospital.model(self.study).vector(), vector)
        return encoding.encode(update, weight=self._weight(), scalars=numbers, random=self.random)

    def _noisy(self, vector: Vector, encoding: Encoding) -> EncodedUpdate:
        """Pay for the round, then train with noise; nothing rides along."""
        work = NoisyWork(self.hospital, self.study, self.question, self.random)
        self.hospital.check_training(self.study)
        Spending(self.hospital, self.study, self.question).spend(self.number)
        validated = self.study.paid_validation(self.number) is not None
        losses = work.validation() if validated else np.zeros(1, dtype=np.int64)  # of the model as it came
        if self.study.distributed:
            return self._with_noise(work.noisy_sum(encoding.levels), losses, encoding)
        state = work.train(self.number, newest_state(self.files, self.number))
        keep_state(self.files, self.number, state, self.random)
        update = fedavg.site_update(self.hospital.model(self.study).vector(), vector)
        numbers = {VALIDATION_LOSS: self._mean_loss(int(losses[0]), work)} if validated else {}
        return encoding.encode(update, weight=1, scalars=numbers, random=self.random)

    def _with_noise(self, found: NoisySum, losses: NDArray[np.int64], encoding: Encoding) -> EncodedUpdate:
        """Integers for the secure sum: of the gradients, and of the losses where the study ever pays for any."""
        units = found.units
        if self.study.promise.validation is not None:
            units = np.concatenate([units, losses])
        size = float(np.sqrt(np.mean(np.square(found.units, dtype=np.float64))))
        share = _ROUNDING / size if size else 0.0
        return EncodedUpdate(encoding.encode_integers(units), found.clipped / found.units.size, share)

    def _mean_loss(self, units: int, work: NoisyWork) -> float:
        """A site's noisy mean loss: over the validation patients that are publicly expected of it."""
        if (lattice := work.plan.validation) is None:
            raise RuntimeError("this study pays for no validation")
        return units * lattice.step / (self.study.validation_patients / len(self.study.sites))

    def _validation(self) -> dict[str, float]:
        """How the model as received does on the site's validation patients, in rounds that validate."""
        if not self.study.validates:
            return {}
        if self.number <= self.study.training.rounds and not is_validated(self.study, self.number - 1):
            return {}
        found = self.hospital.validation(self.study, self.question)
        if found.loss is None:
            raise WardroundError("WR-1306", "This site has no validation patient, and the round needs its loss.")
        return {VALIDATION_LOSS: found.loss if math.isfinite(found.loss) else math.inf}

    def _train(self) -> dict[str, float]:
        images = self.hospital.training_samples(self.study, self.question)
        if images < 1:
            raise WardroundError("WR-1306", "This site has no training image for the study.")
        total, rounds = own_total(self.study, images), self.study.training.rounds
        work = Work(self.number, consumed_before(total, rounds, self.number), samples_in(total, rounds, self.number))
        before = newest_state(self.files, self.number)
        self.hospital.check_training(self.study)
        Spending(self.hospital, self.study, self.question).spend(self.number)
        result = self.hospital.train_round(self.study, self.question, work, before)
        keep_state(self.files, self.number, result.optimizer_state, self.random)
        return {TRAINING_LOSS: result.loss if math.isfinite(result.loss) else math.inf}

    def _weight(self) -> int:
        patients = self.hospital.training_patients(self.study, self.question)
        return int(fedavg.site_weight(self.study.aggregation.weights, patients))
