"""``wardround demo --deployed``: coordinator and three hospitals as processes of their own, from init to the report."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tomli_w

from wardround.common.errors import WardroundError
from wardround.simulations.deployed.federation import Budget, Federation
from wardround.simulations.deployed.processes import Processes
from wardround.simulations.scenario import load_scenario
from wardround.simulations.sites.materialise import materialise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.simulations.deployed.commands import Told
    from wardround.simulations.scenario import Scenario

RUN_SECONDS: Final = 1800.0
CHANGED: Final = {
    "cxr-dp": ("evaluation.bootstrap=1000",),
    "phantom-cxr": (
        "training.rounds=20",
        "training.epochs=20",
        "training.optimizer=sgd",
        "training.momentum=0.9",
        "training.learning_rate=1.0",
        "training.augmentation=[]",
        'model.name="scattering"',
        "selection.rule=last",
        "aggregation.mode=private",
        "aggregation.weights=equal",
        'privacy={trust="distributed", epsilon=8.0, patients=300, rate=1.0, clip=1.0, images_per_patient=2}',
        "evaluation.bootstrap=1000",
    ),
}
"""What of a scenario is changed; on phantoms a promise is made, which takes more patients to keep and still learn."""

PHANTOM_PATIENTS: Final = 200
"""Of each hospital."""

WHY: Final = "To show on one machine how hospitals work together."


@dataclass(frozen=True)
class Shown:
    """What the demonstration leaves.

    Attributes:
        report: The coordinator's.
        own: The hospitals' own, by site.
        state: Of the run: ``completed`` or ``completed_with_losses``.
        model: SHA-256 of the model.
    """

    report: Path
    own: dict[SiteId, Path]
    state: str
    model: str


def demo_scenario(data: Path | None) -> Scenario:
    """Real images when a data folder is given or ``WARDROUND_DATA`` is set, phantoms otherwise."""
    name = "cxr-dp" if data is not None or os.environ.get("WARDROUND_DATA") else "phantom-cxr"
    scenario = load_scenario(name, CHANGED[name])
    if scenario.simulation.phantom is None:
        return scenario
    sites = [site.model_copy(update={"patients": PHANTOM_PATIENTS}) for site in scenario.simulation.sites]
    return replace(scenario, simulation=scenario.simulation.model_copy(update={"sites": tuple(sites)}))


def run_demo(
    scenario: Scenario, data: Path | None, out: Path, told: Told, committed: Callable[[int, int], None]
) -> Shown:
    """Run the demonstration; every process that it starts ends with it, however it ends.

    Args:
        scenario: A private study with a promise, and its virtual hospitals.
        data: Folder with the data; None: the variable ``WARDROUND_DATA``, if set.
        out: The folder to make.
        told: Is told every command before it runs.
        committed: Is told how many rounds of how many are committed.

    Raises:
        WardroundError: WR-1501, the folder is not empty; WR-1523, a process failed; or what a command refused.
    """
    if out.exists() and any(out.iterdir()):
        raise WardroundError("WR-1501", f"The folder {out.name} is not empty.", fix="Name another one: --out DIR")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = out.resolve()
    study, named = scenario.study, os.environ.get("WARDROUND_DATA")
    images = materialise(scenario, data if data is not None else (Path(named) if named else None), root / "sites")
    with interruptible(), Processes(root / "log") as processes:
        federation = Federation(root, processes, told)
        federation.found()
        federation.admit(study.site_ids)
        federation.prepare({site: images[site] for site in study.site_ids}, Budget(epsilon=_limit(study)))
        federation.serve_hospitals(study.site_ids)
        federation.agree(study, write_study(study, root / "study.toml"), WHY)
        run = federation.start(study)
        row = federation.wait(run, RUN_SECONDS, lambda rounds: committed(rounds, study.training.rounds))
        federation.report(run, root / "report")
        own = federation.own_reports(run, study.site_ids)
    return Shown(root / "report", own, row.state, model_hash(federation.run_folder(run)))


def write_study(study: Study, path: Path) -> Path:
    """A study as the file that people would have written."""
    path.write_text(tomli_w.dumps(study.model_dump(mode="json", by_alias=True, exclude_none=True)), encoding="utf-8")
    return path


def model_hash(run: Path) -> str:
    """SHA-256 of a finished run's model, as its card says."""
    from wardround.simulations.job import load_model

    return str(load_model(run / "model")[3]["model"])


def _limit(study: Study) -> float | None:
    """A ledger's limit with room for the study: what is enforced counts more than the study's own epsilon."""
    return None if study.privacy is None else round(2 * (study.promise.promised or 0.0), 1) or None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end everything as Ctrl-C does, and say so.

    Raises:
        WardroundError: WR-1508, one of them came.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        what = "The demonstration was interrupted; all of its processes have ended."
        raise WardroundError("WR-1508", what, fix="Run it again into another folder.") from error
    finally:
        signal.signal(signal.SIGTERM, before)
