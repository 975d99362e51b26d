"""From finished jobs to ``cases.csv``, ``rounds.jsonl``, ``results.json`` and ``metrics.csv``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pandas as pd

from wardround.client.data.report import data_report
from wardround.client.data.split import Parts
from wardround.client.home import write_atomically
from wardround.client.statement.caution import promise_warnings
from wardround.simulations.clipping import clipping_warnings
from wardround.simulations.history import losses, rounds_of
from wardround.simulations.job import load_model
from wardround.simulations.privacy.spent import privacy_rows
from wardround.simulations.privacy.write import write_statement
from wardround.simulations.results import Metric, Model, Results, StudySummary
from wardround.simulations.statistics import metric_rows, test_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.job import Job
    from wardround.simulations.run_folder import RunRequest


def collect_results(
    request: RunRequest,
    hospitals: Mapping[SiteId, VirtualHospital],
    jobs: Sequence[Job],
    warnings: Sequence[str],
    run: Path,
) -> Results:
    """Write everything that the run found; returns what is in ``results.json``."""
    scenario = request.scenario
    cases = pd.concat([pd.read_csv(job.out / "cases.csv", dtype={"fold": "Int64"}) for job in jobs], ignore_index=True)
    cases.to_csv(run / "cases.csv", index=False)
    arms = [arm.name for arm in scenario.arms()]
    rounds = [row for job in jobs for row in rounds_of(job.out, job.arm, job.seed, job.fold)]
    reported = _reported_model(jobs, run)
    privacy = privacy_rows(request.study, hospitals, jobs)
    results = Results(
        study=StudySummary(
            id=request.study.id, name=request.study.name, task=request.study.task.kind, sites=list(request.study.sites)
        ),
        seeds=list(request.seeds),
        folds=request.folds,
        data={site: hospital.data.data[0].digest for site, hospital in hospitals.items()},
        hospitals=_data_reports(request, hospitals),
        status="completed_with_losses" if any(row.dropped for row in rounds) else "completed",
        arms=arms,
        metrics=metric_rows(cases, request.study, arms, list(scenario.sites)),
        tests=test_rows(cases, request.study, arms, list(request.study.sites), list(scenario.sites)),
        rounds=rounds,
        privacy=privacy,
        warnings=[*warnings, *promise_warnings(request.study, privacy), *losses(rounds), *clipping_warnings(jobs)],
        model=reported,
    )
    _write(run / "results.json", results.model_dump(mode="json", by_alias=True))
    write_atomically(run / "rounds.jsonl", "".join(row.model_dump_json() + "\n" for row in rounds).encode())
    pd.DataFrame([row.model_dump() for row in results.metrics], columns=list(Metric.model_fields)).to_csv(
        run / "metrics.csv", index=False
    )
    if request.study.privacy is not None:
        write_statement(run, request.study, privacy)
    return results


def _write(path: Path, content: Any) -> None:  # noqa: ANN401 - any JSON value
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode())


def _reported_model(jobs: Sequence[Job], run: Path) -> Model | None:
    """The federated model of the first seed and fold; None where no federation of all sites is trained."""
    federated = [job for job in jobs if job.arm == "federated"]
    if not federated:
        return None
    shutil.copytree(federated[0].out / "model", run / "model", dirs_exist_ok=True)
    card = load_model(run / "model")[3]
    return Model(path="model/", sha256=str(card["model"]))


def _data_reports(request: RunRequest, hospitals: Mapping[SiteId, VirtualHospital]) -> dict[str, Any]:
    reports: dict[str, Any] = {}
    for site, hospital in hospitals.items():
        whole = site not in request.study.sites or request.simulation.protocol == "leave-one-site-out"
        samples = len(hospital.data.prepared.rows)
        parts = Parts.all_test(samples) if whole else hospital.data.parts(request.study, 0, request.folds)
        report = data_report(hospital.data.data[0], hospital.data.each[0], parts)
        reports[site] = report | {"trained": site in request.study.sites}
    return reports
