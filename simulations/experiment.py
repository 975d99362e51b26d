"""A whole simulation: hospitals, every arm, statistics, results, report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wardround.client.data.checks import check_parts
from wardround.client.data.sites import check_sites
from wardround.client.train.device import choose_device
from wardround.client.train.preflight import check_gradients
from wardround.common.models.catalogue import build_model
from wardround.common.models.initial import load_initial
from wardround.common.models.state import state_arrays
from wardround.common.rounds.encodings import training_encoding
from wardround.common.vector import Layout
from wardround.simulations.arms import plan_jobs
from wardround.simulations.bounds import check_measurable
from wardround.simulations.collect import collect_results
from wardround.simulations.examples import write_examples
from wardround.simulations.hospitals import build_hospitals
from wardround.simulations.pool import run_jobs
from wardround.simulations.progress import QuietProgress
from wardround.simulations.report.write import write_report
from wardround.simulations.run_folder import RunRequest, open_run, write_settings
from wardround.simulations.sites.named import at_hospital
from wardround.simulations.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.client.train.device import Device
    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.simulations.grid import Handled
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.job import Job
    from wardround.simulations.results import Results
    from wardround.simulations.scenario import Scenario


class Progress(Protocol):
    """Who is told how far a simulation is."""

    def stage(self, title: str, total: int) -> None:
        """A new stage begins with this many steps."""

    def step(self) -> None:
        """One step of the stage is done."""

    def jobs(self, jobs: Sequence[Job]) -> None:
        """Training begins."""

    def handled(self, run: str, handled: Handled) -> None:
        """A hospital answered a message of this study run."""

    def finished(self, run: str) -> None:
        """A study run ended."""


def new_request(
    scenario: Scenario,
    data_root: Path | None = None,
    *,
    seeds: int = 1,
    folds: int = 1,
    device: str = "auto",
    threads: int = 1,
    measure_updates: bool = False,
) -> RunRequest:
    """What a run is asked for.

    Args:
        scenario: The study and its virtual hospitals.
        data_root: Folder with the data; None: the environment variable ``WARDROUND_DATA``, if set.
        seeds: Number of seeds: 0, 1, ….
        folds: Number of folds, 1 for the study's own split.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Processor threads a site.
        measure_updates: Whether to measure the updates of the arm ``federated``, for
            :func:`wardround.simulations.bounds.write_bounds`.

    Raises:
        WardroundError: WR-1010, the updates of this scenario cannot be measured.
    """
    if measure_updates:
        check_measurable(scenario)
    named = os.environ.get("WARDROUND_DATA")
    root = data_root if data_root is not None else (Path(named) if named else None)
    return RunRequest(
        study=scenario.study,
        simulation=scenario.simulation,
        faults=scenario.faults,
        data_root=None if root is None else str(root.resolve()),
        seeds=tuple(range(seeds)),
        folds=folds,
        device=device,
        threads=threads,
        measure_updates=measure_updates,
    )


def simulate(
    request: RunRequest, run: Path, *, workers: int = 1, progress: Progress | None = None, init: Path | None = None
) -> Results:
    """Run a simulation, or what is left of it, and write the whole run folder.

    Args:
        request: What to run.
        run: The run folder; new, empty, or of the same request.
        workers: Arms that run side by side, each in its own process.
        progress: Is told how far it is; None for nobody.
        init: File of the weights that the study begins with; None: that of the run folder, or of the folder
            ``models`` of the data.

    Raises:
        WardroundError: The folder, the data, the device or a study run is refused or failed.
    """
    choose_device(request.device)  # refused before a folder is made
    with open_run(run, request):
        return _simulate(request, run, workers=workers, progress=progress or QuietProgress(), init=init)


def _simulate(request: RunRequest, run: Path, *, workers: int, progress: Progress, init: Path | None) -> Results:
    device = choose_device(request.device)
    root = None if request.data_root is None else Path(request.data_root)
    check_model_of(request.study, device, find_weights(request.study, run, init=init, data_root=root))
    write_settings(run, request, workers=workers, device=device.description)
    scenario = request.scenario
    progress.stage("Hospitals: data checked and prepared", len(scenario.sites))
    hospitals = build_hospitals(
        scenario,
        root,
        run,
        device=request.device,
        threads=request.threads,
        progress=lambda _: progress.step(),
    )
    warnings = check_sites({site: hospital.data.data[0] for site, hospital in hospitals.items()}, scenario.study)
    _check_every_part(request, hospitals)
    jobs = plan_jobs(scenario, hospitals, request.seeds, request.folds, run, measured=request.measure_updates)
    progress.jobs(jobs)
    run_jobs([job for job in jobs if not job.finished()], workers, progress.handled, progress.finished)
    progress.stage("Statistics, figures and report", 3)
    results = collect_results(request, hospitals, jobs, warnings, run)
    progress.step()
    write_examples(request, hospitals, jobs, run)
    progress.step()
    write_report(run)
    progress.step()
    return results


def check_model_of(study: Study, device: Device, weights: bytes | None = None) -> None:
    """Refuse what cannot be trained or summed before images are read: the model, its bounds, gradients by patient.

    Args:
        study: The study.
        device: Where it is trained.
        weights: The file that it begins with, if it names one.

    Raises:
        WardroundError: WR-1002, WR-12xx or WR-1803 to WR-1805.
    """
    model = build_model(study, seed=0)
    if weights is not None:
        load_initial(model, study.model, weights)
    if study.privacy is not None:
        check_gradients(study, device)
    if study.private:
        training_encoding(study, Layout.of(state_arrays(model, study.model.travels)))


def _check_every_part(request: RunRequest, hospitals: Mapping[SiteId, VirtualHospital]) -> None:
    for site in request.study.site_ids:
        data = hospitals[site].data
        for fold in range(request.folds):
            parts = data.parts(request.study, fold, request.folds)
            with at_hospital(site):
                check_parts(parts, data.prepared.patients, request.study.split)
