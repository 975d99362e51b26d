"""Train a study at several epsilons and trust models: hospitals are built once, every training can be taken up again.

The folder belongs to one request, as a run folder does (:mod:`wardround.simulations.run_folder`). It holds the
trainings in ``jobs/``, ``cases.csv``, ``curves.json`` and ``figures/curve.png``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from wardround.client.data.checks import check_parts
from wardround.client.home import write_atomically
from wardround.client.train.device import choose_device
from wardround.common.study import Study, build_study
from wardround.simulations.experiment import check_model_of
from wardround.simulations.hospitals import build_hospitals, consortium_roster, training_samples
from wardround.simulations.job import Job, run_id
from wardround.simulations.pool import run_jobs
from wardround.simulations.privacy.curve_figure import draw_curves
from wardround.simulations.privacy.curves import collect_curves
from wardround.simulations.privacy.points import Epsilon, Trust, check_scenario, curve_points
from wardround.simulations.progress import QuietProgress
from wardround.simulations.run_folder import RunRequest, open_run, write_settings
from wardround.simulations.sites.named import at_hospital
from wardround.simulations.weights import find_weights, run_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wardround.common.ids import SiteId
    from wardround.simulations.experiment import Progress
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.privacy.curves import Curves
    from wardround.simulations.privacy.points import Point
    from wardround.simulations.scenario import Scenario


_ANOTHER: Final = (
    "The command that began a curve goes on with it; for another study, other epsilons or other settings give another "
    "--out."
)


class CurveRequest(RunRequest):
    """What a curve was asked for.

    Attributes:
        epsilons: As :func:`~wardround.simulations.privacy.points.curve_points`.
        trusts: Likewise.
        reference: Trained without a promise; None: the study itself.
    """

    epsilons: tuple[Epsilon, ...]
    trusts: tuple[Trust, ...]
    reference: Study | None = None

    @property
    def points(self) -> tuple[Point, ...]:
        """Every study of the curve."""
        return curve_points(self.study, self.epsilons, self.trusts, self.reference)


def curve_request(
    request: RunRequest, epsilons: Sequence[Epsilon], trusts: Sequence[Trust], reference: Scenario | None = None
) -> CurveRequest:
    """A curve of the study of ``request``.

    The reference is split as the study is, whatever its own table says: all points are scored on the same patients.

    Raises:
        WardroundError: WR-1817, there is no curve of these; WR-1002, WR-1801 or WR-1805, a point is no study.
    """
    check_scenario(request.scenario, reference)
    found = CurveRequest(
        **{name: getattr(request, name) for name in RunRequest.model_fields},
        epsilons=tuple(epsilons),
        trusts=tuple(trusts),
        reference=None if reference is None else _split_alike(reference.study, request.study),
    )
    _ = found.points
    return found


def _split_alike(reference: Study, study: Study) -> Study:
    return build_study(reference.model_dump(by_alias=True) | {"split": study.split.model_dump(by_alias=True)})


def draw_curve(
    request: CurveRequest,
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    init: Path | None = None,
) -> Curves:
    """Train what is left of a curve, and write its folder.

    Args:
        request: What to train.
        folder: New, empty, or of the same request.
        workers: Trainings side by side, each in its own process.
        progress: Is told how far it is; None for nobody.
        init: File of the weights that ``model.init`` names; None: in the folder, or that of the data.

    Raises:
        WardroundError: The folder, the data, the device or a study run is refused or failed.
    """
    device = choose_device(request.device)
    with open_run(folder, request, fix=_ANOTHER):
        write_settings(folder, request, workers=workers, device=device.description)
        _keep_weights(request, folder, init)
        return _draw(request, folder, workers, progress or QuietProgress())


def _keep_weights(request: CurveRequest, folder: Path, init: Path | None) -> None:
    """Keep the file of weights of every point in the folder: each names the study's, or its reference's own.

    Raises:
        WardroundError: WR-1208, one is nowhere or has another hash, or a file is given and the study names none.
    """
    root = None if request.data_root is None else Path(request.data_root)
    find_weights(request.study, folder, init=init, data_root=root)
    for point in request.points:
        find_weights(point.study, folder, data_root=root)


def _draw(request: CurveRequest, folder: Path, workers: int, progress: Progress) -> Curves:
    scenario, points = request.scenario, request.points
    root = None if request.data_root is None else Path(request.data_root)
    for point in points:
        check_model_of(point.study, choose_device(request.device), find_weights(point.study, folder, data_root=root))
    hospitals = _hospitals(request, folder, progress)
    jobs = list(_jobs(request, points, hospitals, folder))
    progress.jobs(jobs)
    run_jobs([job for job in jobs if not job.finished()], workers, progress.handled, progress.finished)
    progress.stage("Scores and figure", 1)
    cases = pd.concat([pd.read_csv(job.out / "cases.csv", dtype={"fold": "Int64"}) for job in jobs], ignore_index=True)
    cases.to_csv(folder / "cases.csv", index=False)
    digests = {str(site): hospital.digest for site, hospital in hospitals.items()}
    curves = collect_curves(cases, request.study, points, list(scenario.sites), digests)
    write_atomically(folder / "curves.json", curves.model_dump_json(by_alias=True, indent=1).encode())
    (folder / "figures").mkdir(exist_ok=True)
    write_atomically(folder / "figures" / "curve.png", draw_curves(curves))
    progress.step()
    return curves


def _hospitals(request: CurveRequest, folder: Path, progress: Progress) -> dict[SiteId, VirtualHospital]:
    scenario = request.scenario
    progress.stage("Hospitals: data checked and prepared", len(scenario.sites))
    hospitals = build_hospitals(
        scenario,
        None if request.data_root is None else Path(request.data_root),
        folder,
        device=request.device,
        threads=request.threads,
        progress=lambda _: progress.step(),
    )
    for site in request.study.site_ids:
        data = hospitals[site].data
        with at_hospital(site):
            check_parts(data.parts(request.study, 0, 1), data.prepared.patients, request.study.split)
    return hospitals


def _jobs(
    request: CurveRequest, points: Sequence[Point], hospitals: Mapping[SiteId, VirtualHospital], folder: Path
) -> Iterator[Job]:
    """A training for each point and seed; every point's study is approved at every hospital."""
    unseen = set(request.scenario.unseen)
    for point in points:
        for hospital in hospitals.values():
            hospital.home.approve(point.study)
        samples = math.ceil(point.study.training.epochs * training_samples(hospitals, point.study, None, 1))
        for seed in request.seeds:
            yield Job(
                arm=point.name,
                study=point.study,
                seed=seed,
                fold=None,
                folds=1,
                samples=samples,
                training={site: hospitals[site].home.path for site in point.study.site_ids},
                tested={site: (own.home.path, "all" if site in unseen else "test") for site, own in hospitals.items()},
                out=folder / "jobs" / run_id(point.name, seed, None),
                data={site: hospital.digest for site, hospital in hospitals.items()},
                roster=consortium_roster(folder) if point.study.private else None,
                weights=run_weights(folder),
            )
