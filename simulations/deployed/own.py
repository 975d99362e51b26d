"""A hospital's own report: the study's model beside the one it would have alone, on its own test patients.

The federated model is a file that the coordinator hands out. The model of this hospital alone is trained here, without
noise, because it stays here. Both are scored by the hospital's own code in a scratch home, which is removed; nothing
goes over the network, and the ledger is not touched.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pandas as pd

from wardround.client.data.pool import open_site_data
from wardround.client.data.report import data_report
from wardround.client.home import create_home
from wardround.client.train.device import choose_device
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.study import Study
from wardround.simulations.arms import aggregation_of
from wardround.simulations.deployed.writing import settings_of, write_results
from wardround.simulations.examples import write_site
from wardround.simulations.history import rounds_of
from wardround.simulations.hospitals import VIRTUAL_POLICY, VirtualHospital
from wardround.simulations.job import Job, load_model, run_id, run_job, score_model
from wardround.simulations.privacy.spent import row_of_home, row_without_ledger
from wardround.simulations.report.write import write_report
from wardround.simulations.results import Metric, Model, Results, StudySummary
from wardround.simulations.run_folder import LOCK
from wardround.simulations.saved_model import for_scoring
from wardround.simulations.statistics import metric_rows, test_rows

if TYPE_CHECKING:
    from typing import Any

    from wardround.client.home import Home
    from wardround.client.statement.rows import Privacy
    from wardround.common.ids import SiteId

FEDERATED: Final = "federated"

ABSENT: Final = (
    "The patients, images and figures of the other hospitals: they are there, in reports like this one.",
    "Rounds of the federated training: the coordinator's report has them.",
    "Training with all data in one place, and federations without one hospital: nobody has the data for them.",
)


class Reported(NamedTuple):
    """What is known of the federated run: what it cost here, and the hash of its model."""

    privacy: list[Privacy]
    model: str


def write_own_report(home: Home, model: Path, out: Path) -> Results:
    """Score both models and write ``report.html``, ``results.json``, ``cases.csv`` and what belongs to them.

    Args:
        home: The hospital's home folder.
        model: Model folder of the finished study run.
        out: The folder to write; new or empty.

    Raises:
        WardroundError: WR-1501, the folder is not empty; WR-1503, the model is damaged; WR-1306, this hospital is not
            one of the study's; WR-11xx, the data cannot be used; WR-1601, the device is not there.
    """
    study, _, _, card = load_model(model)
    if home.site not in study.sites:
        raise WardroundError("WR-1306", f"{home.site} is not one of the hospitals of the study {study.name}.")
    _make(out)
    device = choose_device(home.settings.device)
    with tempfile.TemporaryDirectory(dir=home.path, prefix="report-") as scratch:
        hospital = _scratch_hospital(home, study, Path(scratch))
        seed = int(card["seed"])
        jobs = [_federated(hospital, study, model, seed, Path(scratch)), _alone(hospital, study, seed, Path(scratch))]
        for job in jobs:
            if job.arm != FEDERATED:
                run_job(job)
        results = _collect(hospital, study, jobs, out, Reported(_privacy(home, study, card), str(card["model"])))
        (out / "examples").mkdir()
        write_site(home.site, hospital, {None: jobs[0]}, study, out / "examples")
        shutil.copytree(jobs[1].out / "model", out / "own-model")
    shutil.copytree(model, out / "model")
    write_results(out, study, results, settings_of("hospital", device=device.description, seed=seed))
    write_report(out)
    return results


def _make(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(item.name != LOCK for item in out.iterdir())):
        raise WardroundError("WR-1501", f"The folder {out.name} is not empty.", fix="Name another one: --out DIR")
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)


def _scratch_hospital(home: Home, study: Study, scratch: Path) -> VirtualHospital:
    """A home with the same data, the same patient keys and so the same test patients, whose policy allows scoring."""
    copied = create_home(
        scratch / "home",
        home.site,
        home.data_of(study.id),
        device=home.settings.device,
        threads=home.settings.threads,
        secret=(home.path / "patient.key").read_bytes(),
        policy=VIRTUAL_POLICY,
    )
    if study.model.init is not None:
        copied.keep_weights(home.weights(study.model.init))
    return VirtualHospital(copied, open_site_data(copied.settings.data, study, copied.path))


def _federated(hospital: VirtualHospital, study: Study, model: Path, seed: int, scratch: Path) -> Job:
    """The study's run, as far as it is known here: its model, scored."""
    scored, weights = for_scoring(study, model)
    if weights is not None:
        hospital.home.keep_weights(weights)
    hospital.home.approve(scored)
    job = _job(FEDERATED, hospital, scored, seed, scratch)
    shutil.copytree(model, job.out / "model")
    score_model(job)
    return job


def _alone(hospital: VirtualHospital, study: Study, seed: int, scratch: Path) -> Job:
    """The same study on the images of this hospital alone, without noise."""
    fields = study.model_dump(by_alias=True)
    fields |= {"sites": (hospital.home.site,), "aggregation": aggregation_of(study, 1), "privacy": None}
    alone = Study.model_validate(fields)
    hospital.home.approve(alone)
    return _job(f"local/{hospital.home.site}", hospital, alone, seed, scratch)


def _job(arm: str, hospital: VirtualHospital, study: Study, seed: int, scratch: Path) -> Job:
    site, home = hospital.home.site, hospital.home.path
    images = len(hospital.data.parts(study, 0, 1).train)
    return Job(
        arm=arm,
        study=study,
        seed=seed,
        fold=None,
        folds=1,
        samples=max(1, round(study.training.epochs * images)),
        training={site: home},
        tested={site: (home, "test")},
        out=scratch / run_id(arm, seed, None),
        data={site: hospital.digest},
        weights=home / "models",
    )


def _collect(hospital: VirtualHospital, study: Study, jobs: list[Job], out: Path, reported: Reported) -> Results:
    site = hospital.home.site
    arms = [job.arm for job in jobs]
    cases = pd.concat([pd.read_csv(job.out / "cases.csv", dtype={"fold": "Int64"}) for job in jobs], ignore_index=True)
    cases.to_csv(out / "cases.csv", index=False)
    rounds = rounds_of(jobs[1].out, arms[1], jobs[1].seed, None)
    return Results(
        study=StudySummary(id=study.id, name=study.name, task=study.task.kind, sites=list(study.sites)),
        seeds=[jobs[0].seed],
        folds=1,
        data={site: hospital.digest},
        hospitals={site: _data_report(hospital, study)},
        status="completed",
        arms=arms,
        metrics=_of_this_site(metric_rows(cases, study, arms, [site]), site),
        tests=[row for row in test_rows(cases, study, arms, [site], [site]) if row.test_site == site],
        rounds=rounds,
        privacy=reported.privacy,
        warnings=[],
        model=Model(path="model/", sha256=reported.model),
        seen_from="hospital",
        absent=list(ABSENT),
    )


def _privacy(home: Home, study: Study, card: dict[str, Any]) -> list[Privacy]:
    """What the study cost the patients here, by the ledger; without a promise it cost nothing that is counted."""
    if study.privacy is None:
        return [row_without_ledger(study, home.site)]
    return [row_of_home(study, home, [StudyRunId(str(card["run"]))])]


def _of_this_site(rows: list[Metric], site: SiteId) -> list[Metric]:
    """Without summaries, which are over several hospitals."""
    return [row for row in rows if row.test_site == site]


def _data_report(hospital: VirtualHospital, study: Study) -> dict[str, Any]:
    parts = hospital.data.parts(study, 0, 1)
    return data_report(hospital.data.data[0], hospital.data.each[0], parts) | {"trained": True}
