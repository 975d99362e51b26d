"""The hospital in a study with differential privacy: what is paid for before it is trained, and what leaves.

Trust model ``local``: the site takes its own noisy steps, and the difference of the weights leaves, openly or inside
the secure sum. ``distributed``: the noisy sum of gradients leaves, inside the secure sum alone
(:mod:`wardround.client.secagg.contribution`). In both, the ledger has the round's cost before any image is read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.evaluate.patient_losses import patient_losses
from wardround.client.kept_round import KeptRound, forget_round, keep_round, kept_round
from wardround.client.secagg.terms import check_folds, check_open, check_policy
from wardround.client.spending import Spending
from wardround.client.train.noisy import NoisySum, PatientGradients, train_noisily
from wardround.client.train.preflight import check_gradients
from wardround.common.algorithms import fedavg
from wardround.common.errors import WardroundError
from wardround.common.privacy.plan import noise_plan
from wardround.common.wire.noisy import Ready, TrainedNoisy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wardround.client.hospital import Hospital
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.privacy.plan import NoisePlan
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.base import RunContext
    from wardround.common.wire.noisy import Prepare, Settle, TrainNoisy

    OptimizerState = Mapping[str, NDArray[np.float32]]


class NoisyWork:
    """A site's part in one round of a study with differential privacy; the model is loaded.

    Args:
        hospital: The hospital.
        study: The approved study.
        question: Run, seed and fold.
        random: The operating system's randomness.
    """

    def __init__(self, hospital: Hospital, study: Study, question: RunContext, random: RandomSource) -> None:
        self._hospital = hospital
        self._study = study
        self._random = random
        self._model = hospital.model(study)
        self._data = hospital.data(study)
        self._parts = self._data.parts(study, question.fold, question.folds)
        self._gradients = PatientGradients(
            self._model.module,
            self._data.prepared,
            self._parts.train,
            study,
            device=hospital.device,
            random=random,
        )

    @property
    def plan(self) -> NoisePlan:
        """Lattice, noise and denominator."""
        return noise_plan(self._study, self._model.layout.size)

    def validation(self) -> NDArray[np.int64]:
        """The sum of validation patients' losses of the loaded model with this site's noise, lattice units, ``[1]``.

        Raises:
            RuntimeError: The study pays for no validation.
        """
        paid, lattice = self._study.promise.validation, self.plan.validation
        if paid is None or lattice is None:
            raise RuntimeError("this study pays for no validation")
        hospital, indices = self._hospital, self._parts.validation
        losses = patient_losses(
            self._model.module, self._data.prepared, indices, self._study, hospital.device, cap=paid.loss_cap
        )
        total = np.array([losses.sum()])
        return lattice.privatise(total, deviation=lattice.deviation, random=self._random)[0]

    def noisy_sum(self, limit: int) -> NoisySum:
        """The step of trust model ``distributed``: a sum of gradients with this site's share of the noise.

        Args:
            limit: Largest magnitude of a coordinate before noise, lattice units.
        """
        return self._gradients.noisy_sum(self.plan.lattice, deviation=self.plan.deviation, limit=limit)

    def train(self, number: int, optimizer_state: OptimizerState | None) -> OptimizerState:
        """The steps of trust model ``local`` in round ``number``; the loaded model is trained in place."""
        return train_noisily(
            self._gradients,
            self._model.module,
            self._study,
            self.plan,
            progress=(number - 1) / self._study.training.rounds,
            optimizer_state=optimizer_state,
        )


class NoisyRounds:
    """What a hospital answers in open studies with differential privacy.

    Args:
        hospital: The hospital.
        random: The operating system's randomness; tests may give another source.
    """

    def __init__(self, hospital: Hospital, random: RandomSource = os.urandom) -> None:
        self._hospital = hospital
        self._random = random

    def prepare(self, question: Prepare) -> Ready:
        """Check that the model can be trained patient by patient, and reserve the whole run's budget."""
        study = self._study(question)
        self._hospital.check_weights(study)
        check_gradients(study, self._hospital.device)
        Spending(self._hospital, study, question).reserve()
        return Ready(site=self._hospital.home.site)

    def train(self, question: TrainNoisy, vector: Vector) -> tuple[TrainedNoisy, Vector]:
        """Pay for the round, then train the model that came with it.

        Returns:
            The reply and the site's update, shape ``[P]``.
        """
        study, number = self._study(question), question.round
        if number > study.training.rounds:
            raise WardroundError("WR-1301", f"Round {number} of {study.training.rounds} is not one of the study's.")
        last = self._newest(question)
        if last is not None and last.reply.round == number:
            return last.reply, last.update
        spending = Spending(self._hospital, study, question)
        spending.check_newest(number)
        model = self._hospital.load(study, vector, question.layout)
        work = NoisyWork(self._hospital, study, question, self._random)
        self._hospital.check_training(study)
        spending.spend(number)
        reply = TrainedNoisy(
            site=self._hospital.home.site, round=number, validation=self._validation(work, study, number)
        )
        state = work.train(number, self._state(question, study))
        update = fedavg.site_update(model.vector(), vector)
        newest = KeptRound(question.run, reply, update, state)
        keep_round(self._hospital.home, newest)
        self._hospital.last_noisy = newest
        return reply, update

    def _newest(self, question: RunContext) -> KeptRound[TrainedNoisy] | None:
        """The newest round of the question's run, also where another process has trained it."""
        last = self._hospital.last_noisy
        if last is None or last.run != question.run:
            last = self._hospital.last_noisy = kept_round(self._hospital.home, question.run, TrainedNoisy)
        return last

    @staticmethod
    def _validation(work: NoisyWork, study: Study, number: int) -> int | None:
        return None if study.paid_validation(number) is None else int(work.validation()[0])

    def settle(self, question: Settle) -> Ready:
        """The run is over: what it never spent is free again."""
        Spending(self._hospital, self._study(question), question).settle()
        forget_round(self._hospital.home, question.run)
        return Ready(site=self._hospital.home.site)

    def _study(self, question: RunContext) -> Study:
        study = self._hospital.study(question)
        check_open(study)
        if study.privacy is None:
            raise WardroundError("WR-1301", "The approved study has no differential privacy.")
        check_policy(study, self._hospital.home.policy)
        check_folds(study, question, self._hospital.home.policy)
        self._hospital.check_takes_part(study)
        return study

    def _state(self, question: TrainNoisy, study: Study) -> OptimizerState | None:
        last = self._newest(question)
        if study.training.optimizer_state == "reset" or last is None:
            return None
        return last.optimizer_state if last.reply.round < question.round else None
