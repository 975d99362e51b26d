"""What an approval of a study in open mode is an approval of: so many runs, so many rounds, so much work in each.

1. Policy limits the runs of a study, as in the other modes: the coordinator names them.
2. A member of a consortium answers each round of a run once, and its last validation once. The same question with the
   same model is given the same answer again; another one is refused, and so is a round before the newest.
3. A round has the work that the study says, no more and no less, which both sides know but for rounding.

Without this an approval of three rounds would be one of any number of rounds, each on a model of the coordinator's
choice. Virtual hospitals are members of nothing: what they have answered ends with their process.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from wardround.client.home import write_atomically
from wardround.client.kept_round import forget_round
from wardround.client.membership import MEMBERSHIP
from wardround.common.errors import WardroundError
from wardround.common.rounds.work import consumed_before, is_validated, samples_in
from wardround.common.vector import vector_hash
from wardround.common.wire.messages import Trained, Validated

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.ids import StudyId, StudyRunId
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.base import RunContext
    from wardround.common.wire.messages import Train, Validate

FOLDER: Final = "open"

VALIDATED: Final = "validated.json"
"""File in the run's folder: the answer to its last question."""

_ROUNDING: Final = 2
"""Samples by which a site's part of all work may differ from its own: the coordinator divides whole samples."""


class AnsweredRound(BaseModel):
    """A round's answer, and the hash of what was asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: str
    reply: Trained


class AnsweredValidation(BaseModel):
    """The last validation's answer, and the hash of what was asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: str
    reply: Validated


def is_member(home: Home) -> bool:
    """Whether this hospital has joined a consortium; virtual ones have not."""
    return (home.path / MEMBERSHIP).exists()


def asked_hash(home: Home, question: RunContext, vector: Vector) -> str:
    """SHA-256 of a question and of the model that came with it, hex; at virtual hospitals of the question alone."""
    model = vector_hash(vector) if is_member(home) else ""
    return hashlib.sha256(f"{question.model_dump_json()}{model}".encode()).hexdigest()


def check_work(study: Study, question: Train, images: int) -> None:
    """Refuse a round with other work, or more validation, than the approved study says.

    A round of fewer images would give an update of few patients, and one that begins elsewhere of those that the
    coordinator chooses.

    Args:
        study: The study.
        question: What is asked.
        images: The site's training images.

    Raises:
        WardroundError: WR-1301.
    """
    own, rounds, number = study.training.epochs * images, study.training.rounds, question.round
    totals = range(max(0, math.floor(own) - _ROUNDING), math.ceil(own) + _ROUNDING + 1)
    work = {(consumed_before(total, rounds, number), samples_in(total, rounds, number)) for total in totals}
    if (question.start, question.samples) not in work:
        raise WardroundError("WR-1301", f"Round {number} would train on other images than the study says.")
    if question.validate_first and not is_validated(study, question.round - 1):
        raise WardroundError("WR-1301", f"The study does not validate before round {question.round}.")


def another_question(number: int) -> WardroundError:
    """The refusal of a round that was answered, and of one before it."""
    return WardroundError("WR-1301", f"Round {number} of this run is over: another question was answered in its place.")


def check_goes_on(home: Home, run: StudyRunId) -> None:
    """Refuse to train in a run whose last question was answered.

    Raises:
        WardroundError: WR-1301.
    """
    if _path(home, run).exists():
        raise WardroundError("WR-1301", "The run is over: its last validation was answered.")


def validation_answer(home: Home, question: Validate, vector: Vector) -> Validated | None:
    """What was answered to the same question with the same model; None: nothing yet.

    Raises:
        WardroundError: WR-1301, another question was answered in its place; WR-1714, the file is damaged.
    """
    try:
        kept = AnsweredValidation.model_validate_json(_path(home, question.run).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise WardroundError("WR-1714", f"{VALIDATED} of run {question.run} is damaged.") from None
    if kept.asked != asked_hash(home, question, vector):
        raise WardroundError("WR-1301", "The run is over: another model was validated at its end.")
    return kept.reply


def keep_validation(home: Home, question: Validate, vector: Vector, reply: Validated) -> None:
    """Keep the answer to a run's last question, and erase its newest round; durable on return."""
    path = _path(home, question.run)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = AnsweredValidation(asked=asked_hash(home, question, vector), reply=reply)
    write_atomically(path, kept.model_dump_json().encode(), mode=0o600)
    forget_round(home, question.run)


def _path(home: Home, run: StudyRunId) -> Path:
    return home.run_folder(run) / VALIDATED


def join_open_run(home: Home, question: RunContext) -> None:
    """Refuse a run or folds that policy does not allow; a new run is written down before anything of it leaves.

    Raises:
        WardroundError: WR-1712, another run of this study, or folds of the coordinator's choice, are not allowed here;
            WR-1714, the list of runs is damaged.
    """
    policy = home.policy
    policy.check_folds(question.folds)
    joined = joined_open_runs(home, question.study)
    policy.check_run(question.run, joined)
    if question.run not in joined:
        path = _joined_path(home, question.study)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(path, json.dumps([*joined, question.run]).encode(), mode=0o600)


def joined_open_runs(home: Home, study: StudyId) -> list[StudyRunId]:
    """Every run of a study that this site joined in open mode; only looks.

    Raises:
        WardroundError: WR-1714, the list of runs is damaged.
    """
    path = _joined_path(home, study)
    try:
        joined = json.loads(path.read_bytes()) if path.exists() else []
    except ValueError:
        joined = None
    if not isinstance(joined, list) or not all(isinstance(run, str) for run in joined):
        raise WardroundError("WR-1714", "The list of open runs of this study is damaged.")
    return joined


def _joined_path(home: Home, study: StudyId) -> Path:
    return home.path / FOLDER / f"{study.removeprefix('sha256:')}.json"
