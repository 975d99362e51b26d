"""What a hospital does when it is asked: describe its data, train, validate, score.

Data sets are decoded once and the model is built once; both stay resident between messages, and
only the model's weights change.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.client.data.pool import SiteData, open_site_data
from wardround.client.evaluate.scores import CaseRow, ValidationSummary, case_rows, validation_summary
from wardround.client.kept_round import KeptRound, keep_round, kept_round
from wardround.client.open_runs import (
    AnsweredRound,
    another_question,
    asked_hash,
    check_goes_on,
    check_work,
    is_member,
    join_open_run,
    keep_validation,
    validation_answer,
)
from wardround.client.secagg.terms import check_open, check_policy, check_unpromised
from wardround.client.spending import Spending
from wardround.client.train.device import choose_device, keep_freed_memory, set_threads
from wardround.client.train.local import place_model, train
from wardround.common.algorithms import fedavg
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model, initial_model
from wardround.common.models.state import load_state_arrays, read_state, state_arrays
from wardround.common.vector import Layout
from wardround.common.wire.messages import Description, Scored, Trained, Validated

NOTHING_VALIDATED: Final = ValidationSummary(None, None, 0, 0)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    OptimizerState = Mapping[str, NDArray[np.float32]]

    from wardround.client.home import Home
    from wardround.client.train.local import TrainResult
    from wardround.common.study import ModelChoice, Study
    from wardround.common.vector import Vector
    from wardround.common.wire.base import RunContext
    from wardround.common.wire.messages import Describe, Score, Train, Validate
    from wardround.common.wire.noisy import TrainedNoisy


@dataclass(frozen=True)
class ResidentModel:
    """A model kept in memory; its weights are swapped in place, and what is frozen stays as it is.

    Attributes:
        module: The model.
        layout: Of what travels.
        choice: Says what that is.
    """

    module: nn.Module
    layout: Layout
    choice: ModelChoice

    def load(self, vector: Vector, layout: str) -> None:
        """Put the weights of a vector of shape ``[P]`` into the model.

        Raises:
            WardroundError: WR-1301, the vector belongs to another layout.
        """
        if layout != self.layout.hash:
            raise WardroundError("WR-1301", "The model vector belongs to another model layout.")
        load_state_arrays(self.module, self.layout.views(vector), self.choice.travels)

    def vector(self) -> Vector:
        """A copy of the weights that travel, shape ``[P]``."""
        vector = np.empty(self.layout.size, dtype=np.float32)
        read_state(self.module, self.layout.views(vector), self.choice.travels)
        return vector


@dataclass(frozen=True, slots=True)
class Work:
    """Which part of a site's stream of training images a round consumes.

    Attributes:
        round: The round, from 1.
        start: Images that the site consumed in earlier rounds.
        samples: Images to consume, 1 or more.
    """

    round: int
    start: int
    samples: int


class Hospital:
    """A hospital at work.

    Args:
        home: Its home folder.
        models: Resident models by study model and task; hospitals of one process share them.
    """

    def __init__(self, home: Home, models: dict[bytes, ResidentModel]) -> None:
        self.home = home
        self._models = models
        self._data: dict[bytes, SiteData] = {}
        self._holds: set[str] = set()
        self._last: KeptRound[AnsweredRound] | None = None
        self.last_noisy: KeptRound[TrainedNoisy] | None = None
        set_threads(home.settings.threads)
        keep_freed_memory()
        self.device = choose_device(home.settings.device)

    def describe(self, question: Describe) -> Description:
        """How much training data this site brings."""
        study = self._open_study(question)
        data = self.data(study)
        indices = data.parts(study, question.fold, question.folds).train
        return Description(site=self.home.site, patients=data.patients(indices), samples=len(indices))

    def train(self, question: Train, vector: Vector) -> tuple[Trained, Vector]:
        """Train the model that came with the question (open mode).

        Returns:
            The reply and the site's update, shape ``[P]``; the same again for the same question.
        """
        begin = time.perf_counter()
        study = self._open_study(question)
        asked, last = asked_hash(self.home, question, vector), self._newest(question)
        if last is not None and last.reply.asked == asked:
            return last.reply.reply, last.update
        if question.rounds != study.training.rounds or question.round > question.rounds:
            raise WardroundError("WR-1301", f"Round {question.round} of {question.rounds} is not one of the study's.")
        if is_member(self.home):
            self._check_once(study, question, last)
        self.load(study, vector, question.layout)
        validation = self.validation(study, question) if question.validate_first else NOTHING_VALIDATED
        state = self._optimizer_state(question, study)
        work = Work(question.round, question.start, question.samples)
        self.check_training(study)
        Spending(self, study, question).spend(question.round)
        result = self.train_round(study, question, work, state)
        update = fedavg.site_update(self.model(study).vector(), vector)
        reply = Trained(
            site=self.home.site,
            round=question.round,
            patients=self.training_patients(study, question),
            samples=result.samples,
            loss=result.loss,
            train_seconds=result.seconds,
            seconds=time.perf_counter() - begin,
            validation_loss=validation.loss,
            validation_metric=validation.metric,
        )
        answered = AnsweredRound(asked=asked, reply=reply)
        self._last = KeptRound(question.run, answered, update, result.optimizer_state)
        if is_member(self.home):
            keep_round(self.home, self._last)
        return reply, update

    def _newest(self, question: Train) -> KeptRound[AnsweredRound] | None:
        """The newest round of the question's run, also where another process has trained it."""
        if (self._last is None or self._last.run != question.run) and is_member(self.home):
            self._last = kept_round(self.home, question.run, AnsweredRound)
        return self._last if self._last is not None and self._last.run == question.run else None

    def _check_once(self, study: Study, question: Train, last: KeptRound[AnsweredRound] | None) -> None:
        """Refuse what the approval of the study does not cover."""
        check_goes_on(self.home, question.run)
        if last is not None and last.reply.reply.round >= question.round:
            raise another_question(question.round)
        check_work(study, question, self.training_samples(study, question))

    def validate(self, question: Validate, vector: Vector) -> Validated:
        """Score the model that came with the question on the validation patients: the run's last question."""
        study = self._open_study(question)
        if (answered := validation_answer(self.home, question, vector)) is not None:
            return answered
        self.load(study, vector, question.layout)
        summary = self.validation(study, question)
        reply = Validated(site=self.home.site, loss=summary.loss, metric=summary.metric)
        if is_member(self.home):
            keep_validation(self.home, question, vector, reply)
        return reply

    def score(self, question: Score, vector: Vector) -> Scored:
        """Score the model patient by patient; the table stays in the run's folder at this site."""
        study = self.study(question)
        check_policy(study, self.home.policy)
        if study.private or study.privacy is not None:
            self.home.policy.check_scoring()
        data = self.data(study)
        model = self.load(study, vector, question.layout)
        parts = data.parts(study, question.fold, question.folds)
        indices = parts.test if question.part == "test" else np.arange(len(data.prepared.rows))
        rows = [
            row
            for source, prepared, own in data.sources(indices)
            for row in case_rows(
                model.module, source, prepared, own, study, device=self.device, patient_key=self.home.patient_key
            )
        ]
        write_cases(self.home.run_folder(question.run) / "cases.csv", rows)
        return Scored(site=self.home.site)

    def model_size(self, question: RunContext) -> int:
        """Number of values in the model vector of the question's study."""
        return self.model(self.study(question)).layout.size

    # What both modes are made of

    def load(self, study: Study, vector: Vector, layout: str) -> ResidentModel:
        """The study's model with the weights of a vector of shape ``[P]``.

        Raises:
            WardroundError: WR-1301, the vector belongs to another layout.
        """
        model = self.model(study)
        model.load(vector, layout)
        return model

    def validation(self, study: Study, question: RunContext) -> ValidationSummary:
        """How the loaded model does on the site's validation patients."""
        data = self.data(study)
        indices = data.parts(study, question.fold, question.folds).validation
        return validation_summary(self.model(study).module, data.prepared, indices, study, self.device)

    def train_round(
        self, study: Study, question: RunContext, work: Work, optimizer_state: OptimizerState | None
    ) -> TrainResult:
        """Train the loaded model in place on one round's part of the site's training images."""
        data = self.data(study)
        return train(
            self.model(study).module,
            data.prepared,
            data.parts(study, question.fold, question.folds).train,
            study,
            start=work.start,
            samples=work.samples,
            progress=(work.round - 1) / study.training.rounds,
            seed=question.seed,
            device=self.device,
            optimizer_state=optimizer_state,
        )

    def training_patients(self, study: Study, question: RunContext) -> int:
        """Number of the site's training patients."""
        data = self.data(study)
        return data.patients(data.parts(study, question.fold, question.folds).train)

    def training_samples(self, study: Study, question: RunContext) -> int:
        """Number of the site's training images."""
        return len(self.data(study).parts(study, question.fold, question.folds).train)

    def data(self, study: Study) -> SiteData:
        """The site's checked and prepared data for a study: the data sets that it was approved for.

        Raises:
            WardroundError: WR-1920, one of them is not registered any more, or its manifest was changed; WR-11xx.
        """
        chosen = self.home.data_of(study.id)
        key = b"".join(part.model_dump_json().encode() for part in (study.task, study.input, *chosen))
        if key not in self._data:
            self._data[key] = open_site_data(chosen, study, self.home.path)
        return self._data[key]

    def study(self, question: RunContext) -> Study:
        """The approved study that a question is about.

        Raises:
            WardroundError: WR-1304, it is not approved here; WR-1301, there is no such fold.
        """
        study = self.home.approved(question.study)
        if question.fold >= question.folds:
            raise WardroundError("WR-1301", f"Fold {question.fold} of {question.folds} does not exist.")
        return study

    def model(self, study: Study) -> ResidentModel:
        """The study's model, built once; what is frozen comes from this home's own file.

        Raises:
            WardroundError: WR-1208 or WR-1209, this home does not hold the file, or it is another model's.
        """
        self._check_held(study.model)
        key = study.task.model_dump_json().encode() + study.model.model_dump_json().encode()
        key += study.input.model_dump_json().encode() + bytes([study.privacy is not None])
        if key not in self._models:
            frozen = study.model.freezes
            module = initial_model(study, seed=0, weights=self.home.weights) if frozen else build_model(study, seed=0)
            layout = Layout.of(state_arrays(module, study.model.travels))
            place_model(module, self.device)
            self._models[key] = ResidentModel(module, layout, study.model)
        return self._models[key]

    def check_weights(self, study: Study) -> None:
        """Refuse a study whose frozen parts this site cannot have, before anything is reserved.

        Raises:
            WardroundError: WR-1208 or WR-1209, this home does not hold the file, or it is another model's.
        """
        if study.model.freezes:
            self.model(study)

    def _check_held(self, choice: ModelChoice) -> None:
        """Models are shared among the hospitals of one process, files are not; each is read once."""
        if choice.init is not None and choice.freezes and choice.init not in self._holds:
            self.home.weights(choice.init)
            self._holds.add(choice.init)

    def _open_study(self, question: RunContext) -> Study:
        """The study of a question of open mode, which the site's policy allows and which trains here."""
        study = self.study(question)
        check_open(study)
        check_unpromised(study)
        check_policy(study, self.home.policy)
        join_open_run(self.home, question)
        self.check_takes_part(study)
        self.check_weights(study)
        Spending(self, study, question).reserve()
        return study

    def check_takes_part(self, study: Study) -> None:
        """Refuse a study that this site does not train in.

        Raises:
            WardroundError: WR-1306.
        """
        if self.home.site not in study.sites:
            raise WardroundError("WR-1306", f"{self.home.site} is not one of the study's training sites.")

    def check_training(self, study: Study) -> None:
        """Refuse to train now, or with so few patients, where the site's policy does; asked before a round is paid for.

        Raises:
            WardroundError: WR-1712.
        """
        policy = self.home.policy
        policy.check_patients(len(set(self.data(study).prepared.patients)))
        policy.check_hours(datetime.now().astimezone().time())

    def _optimizer_state(self, question: Train, study: Study) -> OptimizerState | None:
        last = self._newest(question)
        if study.training.optimizer_state == "reset" or last is None:
            return None
        if last.reply.reply.round >= question.round:  # the run was started again from an earlier round
            return None
        return last.optimizer_state


def write_cases(path: Path, rows: list[CaseRow]) -> None:
    """Write a table with one row per sample and label; undefined values are empty cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in fields(CaseRow)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
