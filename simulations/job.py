"""One training of one model: an arm, a seed and a fold, run through the ServerApp and the ClientApp."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flwr.app import Context, RecordDict

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError
from wardround.common.model_folder import MODEL_FILES, decode_model
from wardround.common.wire.messages import Score, Scored
from wardround.common.wire.records import pack_vector
from wardround.server.app import app as coordinator_app
from wardround.server.exchange import ask, expect
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.update_sizes import MeasuringGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.common.roster import SignedRoster
    from wardround.common.study import Study
    from wardround.common.vector import Layout, Vector
    from wardround.simulations.faults import Fault
    from wardround.simulations.grid import Handled

DONE = "done.json"

BEGUN = "begun.json"
"""Says what is trained, so that a training that was interrupted does not go on with other data."""

TRAINED = "trained.json"
"""Says that training has ended, so that an interrupted scoring does not train, and charge patients, again."""

NOT_MARKED = ("study", "out", "roster", "threads", "weights", "resumable", "without")
"""Fields of a plan that a job's marks leave out: where things are, and what follows from the rest."""

UPDATES = "updates.json"
"""Sizes of the updates of a job that was measured."""


@dataclass(frozen=True)
class Job:
    """One training of one model, and the sites it is scored on.

    Attributes:
        arm: The arm's name.
        study: The arm's study: the scenario's, with the sites that the arm trains on.
        seed: Seed of initial weights and sample order.
        fold: Which fold is the test part; None without folds.
        folds: Number of folds.
        samples: Samples that all its sites together consume: the same in every arm.
        training: Home folders of the sites it trains on.
        tested: Home folders of the sites it is scored on, and on which of their patients.
        out: The job's folder.
        data: Digests of the data of every site it trains on or is scored on, by site.
        faults: Messages that its sites leave unanswered while it trains.
        measured: Whether the sizes of its updates are written to ``updates.json``.
        roster: The roster of the hospitals' consortium; needed where the study is private.
        weights: Folder where the file of weights lies that the study begins with, if it names one.
    """

    arm: str
    study: Study
    seed: int
    fold: int | None
    folds: int
    samples: int
    training: Mapping[SiteId, Path]
    tested: Mapping[SiteId, tuple[Path, Literal["test", "all"]]]
    out: Path
    data: Mapping[SiteId, str] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    measured: bool = False
    roster: SignedRoster | None = None
    weights: Path | None = None

    @property
    def run(self) -> str:
        """Wardround's id of this study run."""
        return run_id(self.arm, self.seed, self.fold)

    @property
    def plan(self) -> RunPlan:
        """What the coordinator is asked to run."""
        return RunPlan(
            study=self.study,
            run=self.run,
            seed=self.seed,
            fold=self.fold or 0,
            folds=self.folds,
            samples=self.samples,
            out=self.out,
            roster=self.roster,
            weights=self.weights,
            resumable=self.resumable,
        )

    @property
    def resumable(self) -> bool:
        """Whether a training that was interrupted goes on and ends as one that was not.

        Begun anew are open trainings whose sites have their optimizer's state in memory alone, and those whose updates
        are measured. Neither costs patients anything.
        """
        study = self.study
        return study.privacy is not None or (study.training.optimizer_state == "reset" and not self.measured)

    @property
    def messages(self) -> int:
        """Training messages in the whole job, for progress displays."""
        return self.study.training.rounds * len(self.training)

    def finished(self) -> bool:
        """Whether the job ran to its end with exactly this plan, and what it left is undamaged.

        Raises:
            WardroundError: WR-1507, it ran with other data.
        """
        return self._marked(DONE, ("cases.csv",))

    def trained(self) -> bool:
        """Whether its training ended with exactly this plan, and what that left is undamaged.

        Raises:
            WardroundError: WR-1507, it ran with other data.
        """
        return self._marked(TRAINED)

    def _marked(self, name: str, scored: Sequence[str] = ()) -> bool:
        try:
            done = json.loads((self.out / name).read_bytes())
            undamaged = done["files"] == self._files(scored)
        except (OSError, ValueError, TypeError, KeyError):  # absent or damaged: it is run again
            return False
        if not undamaged or done["plan"] != self._mark()["plan"]:
            return False
        if done["data"] != dict(self.data):
            raise WardroundError("WR-1507", f"The data of {self.arm} changed since this run began.")
        return True

    def begin(self) -> None:
        """Training begins, or goes on.

        Raises:
            WardroundError: WR-1507, it began with other data.
        """
        path, mark = self.out / BEGUN, json.dumps(self._mark()).encode()
        if path.exists() and path.read_bytes() != mark:
            raise WardroundError("WR-1507", f"The data of {self.arm} changed since this run began.")
        write_atomically(path, mark)

    def mark_finished(self) -> None:
        """Record the plan, the data and the hashes of what the job leaves."""
        self._write_mark(DONE, ("cases.csv",))

    def mark_trained(self) -> None:
        """Record the plan, the data and the hashes of what training leaves."""
        self._write_mark(TRAINED)

    def _write_mark(self, name: str, scored: Sequence[str] = ()) -> None:
        write_atomically(self.out / name, json.dumps(self._mark() | {"files": self._files(scored)}).encode())

    def _mark(self) -> dict[str, Any]:
        plan = self.plan.model_dump(mode="json", exclude=set(NOT_MARKED))
        tested = {site: part for site, (_, part) in self.tested.items()}
        faults = [fault.model_dump() for fault in self.faults]
        return {"plan": plan | {"study": self.study.id, "tested": tested, "faults": faults}, "data": dict(self.data)}

    def _files(self, scored: Sequence[str]) -> dict[str, str]:
        names = [*scored, "history.json", *(f"model/{name}" for name in MODEL_FILES)]
        names += [UPDATES] if self.measured else []
        return {name: hashlib.sha256((self.out / name).read_bytes()).hexdigest() for name in names}


def run_id(arm: str, seed: int, fold: int | None) -> str:
    """The id of the study run of an arm, seed and fold; also its folder's name."""
    return f"{arm.replace('/', '.')}.seed{seed}" + ("" if fold is None else f".fold{fold}")


def run_job(job: Job, observer: Callable[[Handled], None] | None = None) -> None:
    """Train and score; a finished job is left as it is, and one that was trained is scored.

    Raises:
        WardroundError: What the study run refused or failed with.
    """
    if job.finished():
        return
    job.out.mkdir(parents=True, exist_ok=True)
    if not job.trained():
        _train(job, observer)
    score_model(job, observer)
    job.mark_finished()


def score_model(job: Job, observer: Callable[[Handled], None] | None = None) -> None:
    """Score the model in the job's folder at every tested site, and join their tables into ``cases.csv``.

    Raises:
        WardroundError: WR-1503, there is no such model; or what a hospital refused.
    """
    _, layout, vector, _ = load_model(job.out / "model")
    homes = {site: home for site, (home, _) in job.tested.items()}
    score_everywhere(job, InProcessGrid(homes, observer), layout, vector)
    _collect_cases(job)


def _train(job: Job, observer: Callable[[Handled], None] | None) -> None:
    job.begin()
    plan = job.out / "plan.json"
    write_atomically(plan, job.plan.model_dump_json(by_alias=True).encode())
    grid = training_grid(job, observer)
    coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(plan)}))
    if isinstance(grid, MeasuringGrid):
        write_atomically(job.out / UPDATES, grid.sizes().model_dump_json().encode())
    job.mark_trained()


def training_grid(job: Job, observer: Callable[[Handled], None] | None) -> InProcessGrid:
    """The grid that the job trains on."""
    if job.measured:
        return MeasuringGrid(job.training, observer, job.faults, job.study)
    return InProcessGrid(job.training, observer, job.faults)


def score_everywhere(job: Job, grid: InProcessGrid, layout: Layout, vector: Vector) -> None:
    """Ask every tested site to score the model; each keeps its table."""
    context = job.plan.context.model_dump()
    questions = {site: Score(**context, layout=layout.hash, part=part) for site, (_, part) in job.tested.items()}
    for answer in ask(grid, "evaluate.score", questions, grid.nodes, group="test", vector=pack_vector(vector)):
        expect(answer, Scored)


def load_model(folder: Path) -> tuple[Study, Layout, Vector, dict[str, Any]]:
    """Read a model folder.

    Raises:
        WardroundError: WR-1503, it is missing, incomplete or damaged.
    """
    try:
        files = {name: (folder / name).read_bytes() for name in MODEL_FILES if (folder / name).exists()}
    except OSError as error:
        raise WardroundError("WR-1503", f"The model folder cannot be read ({type(error).__name__}).") from error
    return decode_model(files)


def _collect_cases(job: Job) -> None:
    """Join the sites' tables into the job's ``cases.csv``: a simulation's user holds all the data."""
    with (job.out / "cases.csv").open("w", newline="", encoding="utf-8") as target:
        writer = None
        for site, (home, _) in job.tested.items():
            with (home / "runs" / job.run / "cases.csv").open(newline="", encoding="utf-8") as source:
                for row in csv.DictReader(source):
                    if writer is None:
                        names = ["arm", "seed", "fold", "test_site", *row]
                        writer = csv.DictWriter(target, names)
                        writer.writeheader()
                    fold = "" if job.fold is None else job.fold
                    writer.writerow({"arm": job.arm, "seed": job.seed, "fold": fold, "test_site": site, **row})
