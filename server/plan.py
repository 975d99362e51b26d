"""What the coordinator is asked to run: read from the Flower run's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wardround.common import weights
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.roster import SignedRoster
from wardround.common.study import Study
from wardround.common.wire.base import RunContext

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAN_KEY = "wardround-plan"
"""Key of the Flower run configuration under which the plan file's path stands."""


class RunPlan(BaseModel):
    """One study run.

    Attributes:
        study: The plan that the hospitals approved.
        run: wardround's own id of this run.
        seed: Seed of the initial model and of the sites' sample order.
        fold: Which fold is the test part.
        folds: Number of folds, 1 for the study's own split.
        samples: Samples that all sites together may consume in open mode; None: ``training.epochs`` passes
            over the cohort's training images. In private mode every site works as its study says.
        out: Folder for the reported model and the history.
        roster: The consortium's roster; needed for a private study.
        threads: Threads that take masks off a secure sum; None: one for each processor.
        weights: Folder where the file of weights lies that the study begins with, if it names one.
        resumable: Whether an open run keeps each committed round, and goes on after it if it is interrupted; a private
            one always does.
        without: Sites of the study that do not take part in this run, from its beginning to its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Study
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    seed: Annotated[int, Field(ge=0)] = 0
    fold: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=1, le=100)] = 1
    samples: Annotated[int, Field(ge=1)] | None = None
    out: Path
    roster: SignedRoster | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    weights: Path | None = None
    resumable: bool = True
    without: tuple[SiteId, ...] = ()

    @property
    def context(self) -> RunContext:
        """What every instruction of this run says about itself."""
        return RunContext(
            study=self.study.id, run=StudyRunId(self.run), seed=self.seed, fold=self.fold, folds=self.folds
        )

    def initial_weights(self, digest: str) -> bytes:
        """The file of weights of this SHA-256.

        Raises:
            WardroundError: WR-1208, it is not where the plan says, or has another hash.
        """
        missing = weights.missing(digest, "The coordinator")
        if self.weights is None:
            raise missing
        try:
            content = (self.weights / weights.file_name(digest)).read_bytes()
        except FileNotFoundError:
            raise missing from None
        except OSError as error:
            raise weights.unreadable(digest, "the coordinator", error) from error
        return weights.verified(content, digest)


def read_plan(run_config: Mapping[str, Any]) -> RunPlan:
    """Read the plan that the run configuration points to.

    Raises:
        WardroundError: WR-1002, the plan is not valid.
        RuntimeError: The run configuration names no plan: the run was not started by wardround.
    """
    path = run_config.get(PLAN_KEY)
    if not isinstance(path, str):
        raise RuntimeError("the Flower run names no wardround plan")  # noqa: TRY004 - a bug of the caller, not a wrong type
    return RunPlan.model_validate_json(Path(path).read_bytes())
