"""The plan of a run, kept in its folder: made once, so that a run that goes on is the run that began."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from wardround.common.errors import WardroundError
from wardround.server.files import write_private
from wardround.server.plan import RunPlan
from wardround.server.runs.orders import read_study
from wardround.server.runs.rosters import agreed_roster

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.server.consortium import Consortium
    from wardround.server.store import RunRow

PLAN: Final = "plan.json"
HISTORY: Final = "history.json"


def run_folder(consortium: Consortium, row: RunRow) -> Path:
    """Where a run leaves what it leaves."""
    return consortium.path / "runs" / row.id


def keep_plan(consortium: Consortium, row: RunRow) -> tuple[Path, RunPlan]:
    """The plan's file and the plan: the one that the run began with, or a new one.

    Folders in it are those of today: a coordinator's folder may have moved since. Its roster is the newest one that the
    run's hospitals have accepted; where they differ, the one that it had.

    Raises:
        WardroundError: WR-1714, it is damaged; WR-1903, WR-1906 or WR-1913, the study cannot be used; WR-1923, there
            is no roster yet.
    """
    folder = run_folder(consortium, row)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / PLAN
    plan = _stored(path) or _new(consortium, row)
    roster = agreed_roster(consortium.store, plan.study, plan.without) or plan.roster
    plan = plan.model_copy(update={"roster": roster})
    plan = plan.model_copy(update={"out": folder.absolute(), "weights": (consortium.path / "weights").absolute()})
    write_private(path, plan.model_dump_json(by_alias=True).encode())
    return path.absolute(), plan


def had_losses(folder: Path) -> bool:
    """Whether a site was left out of a round of a run that is complete."""
    history = json.loads((folder / HISTORY).read_bytes())
    return any(record["dropped"] for record in history["rounds"])


def _stored(path: Path) -> RunPlan | None:
    try:
        return RunPlan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise WardroundError("WR-1714", f"{PLAN} of the run is damaged.") from None


def _new(consortium: Consortium, row: RunRow) -> RunPlan:
    study, roster = consortium.store.study(row.study), consortium.store.newest_roster()
    if study is None or roster is None:
        raise WardroundError("WR-1913", "The study was not proposed, or nobody is a member yet.")
    folder = run_folder(consortium, row)
    return RunPlan(
        study=read_study(consortium, study), run=row.id, seed=row.seed, out=folder, roster=roster, without=row.without
    )
