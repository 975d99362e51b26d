"""From the words of ``wardround attack leakage`` to a suite: a scenario, a finished run, or the toy alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.client.train.device import keep_freed_memory, set_threads
from wardround.common.errors import WardroundError
from wardround.simulations.attacks.leakage.images import CROWD, LEAST, VICTIMS
from wardround.simulations.attacks.leakage.results import FILE
from wardround.simulations.attacks.leakage.runs import Runs
from wardround.simulations.attacks.leakage.suite import SEEDS, Suite, attack_leakage
from wardround.simulations.experiment import new_request
from wardround.simulations.run_folder import read_request
from wardround.simulations.scenario import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardround.simulations.attacks.leakage.results import LeakageReport
    from wardround.simulations.run_folder import RunRequest

RUNS: Final = "runs"
"""Folder of the runs that an attack trains."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Args:
        target: A scenario's name or file, or the folder of a finished run; None: the toy, which promises epsilon 3.
        settings: ``section.field=value`` changes of a scenario.
        data: Folder with the data sets; None: the environment variable ``WARDROUND_DATA``, if set.
        seeds: How often the canaries are attacked.
        quick: Toys alone, and no network is inverted.
        without_privacy: Take the study's noise away: everything should succeed then.
        workers: Whole runs side by side.
        init: File of the weights that ``model.init`` names; None: in the finished run, or the folder of the data.
    """

    target: str | None = None
    settings: Sequence[str] = ()
    data: Path | None = None
    seeds: int = SEEDS
    quick: bool = False
    without_privacy: bool = False
    workers: int = 1
    init: Path | None = None


def run_leakage(wanted: Wanted, folder: Path, watch: Callable[[int, int], None]) -> LeakageReport:
    """Attack; a finished run that was attacked as it is keeps ``leakage.json`` for its report.

    Raises:
        WardroundError: WR-1809, the study promises nothing; WR-1004 and others, the scenario, the run or its data
            cannot be used.
    """
    set_threads(1)
    keep_freed_memory()
    suite = Suite(seeds=wanted.seeds, quick=wanted.quick, with_noise=not wanted.without_privacy)
    if wanted.target is None:
        return attack_leakage(suite, folder, watch)
    finished = Path(wanted.target) if Path(wanted.target).is_dir() else None
    request = _request(wanted, finished)
    if request.study.privacy is None:
        raise WardroundError("WR-1809", "The study has no [privacy] table: there is no promise to attack.")
    suite = replace(suite, study=request.study)
    if not wanted.quick:
        suite = _with_runs(suite, request, folder, finished, wanted)
    report = attack_leakage(suite, folder, watch)
    if finished is not None and not wanted.without_privacy:
        write_atomically(finished / FILE, (folder / FILE).read_bytes())
    return report


def _request(wanted: Wanted, finished: Path | None) -> RunRequest:
    if finished is None:
        return new_request(load_scenario(str(wanted.target), wanted.settings), wanted.data)
    return read_request(finished)


def _with_runs(suite: Suite, request: RunRequest, folder: Path, finished: Path | None, wanted: Wanted) -> Suite:
    """The same with attacks on whole runs, and with images of the study's own patients where there are enough."""
    root = None if request.data_root is None else Path(request.data_root)
    runs = Runs.open(
        request.scenario,
        root,
        folder / RUNS,
        device=request.device,
        workers=wanted.workers,
        finished=finished,
        init=wanted.init,
    )
    images = runs.images()
    enough = len(images) >= VICTIMS + CROWD + LEAST
    return replace(suite, images=images if enough else None, more={"membership-runs": runs.attack})
