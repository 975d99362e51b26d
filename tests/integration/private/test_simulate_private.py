"""``wardround simulate`` in private mode: every arm, results, report, resuming."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.private_runs import private_scenario
from fakes.scenarios import chest_scenario
from rich.console import Console

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.rounds.work import own_total
from wardround.common.study import Study
from wardround.common.wire.private import UPLOAD
from wardround.simulations.arms import plan_jobs
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.grid import Handled
from wardround.simulations.hospitals import build_hospitals, training_samples
from wardround.simulations.job import DONE, load_model
from wardround.simulations.progress import RichProgress
from wardround.simulations.run_folder import read_request

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.results import Results, Round

SILENT = [
    {"site": "site1", "round": 1, "stage": "upload"},
    {"site": "site2", "round": 2, "stage": "upload", "attempts": 1},
    {"site": "site0", "round": 2, "stage": "upload", "attempts": 1},
    {"site": "site3", "round": 3, "stage": "open"},
]


def scenario(**sections: Any) -> Any:
    plan = private_scenario(4)
    simulation = plan.simulation.model_dump() | {"arms": ["federated", "centralised", "leave-one-out"]}
    fields = plan.study.model_dump(by_alias=True)
    return chest_scenario(**fields | {"simulation": simulation, "faults": SILENT} | sections)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private") / "run"


@pytest.fixture(scope="module")
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def results(folder: Path, shown: io.StringIO) -> Results:
    with RichProgress(Console(file=shown, force_terminal=True, width=120)) as progress:
        return simulate(new_request(scenario(), device="cpu"), folder, progress=progress)


def rounds(results: Results, arm: str) -> list[Round]:
    return [row for row in results.rounds if row.arm == arm]


def test_arms_are_private_where_a_secure_sum_exists(results: Results) -> None:
    private = {row.arm for row in results.rounds if row.train_seconds is None}
    assert private == {"federated", *(f"leave-one-out/site{number}" for number in range(4))}
    assert all(row.validation_mean is None for row in rounds(results, "centralised"))
    assert all(row.validation_mean is not None and not row.validation_loss for row in rounds(results, "federated"))


def only(study: Study, site: SiteId) -> Study:
    """The study, open, at one site."""
    fields = study.model_dump(by_alias=True)
    return Study.model_validate(fields | {"sites": (site,), "aggregation": {"mode": "open"}})


def test_every_arm_does_equal_work(results: Results, folder: Path) -> None:
    """A site of a private arm works as its study says: epochs over its own images."""
    samples = sum(row.samples or 0 for row in rounds(results, "centralised"))
    request = read_request(folder)
    hospitals = build_hospitals(request.scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    jobs = plan_jobs(request.scenario, hospitals, request.seeds, 1, folder)
    private = [job for job in jobs if job.study.private]
    assert len(private) == 5
    for job in private:
        images = [training_samples(hospitals, only(job.study, site), None, 1) for site in job.study.site_ids]
        assert abs(sum(own_total(job.study, count) for count in images) - samples) <= 2
    assert len({job.study.training.epochs for job in private}) > 2


def test_losses_are_named_in_every_table(results: Results) -> None:
    first, second, third = rounds(results, "federated")
    assert results.status == "completed_with_losses"
    assert [item.partition(":")[0] for item in first.dropped] == ["site1"]
    assert (second.attempts, second.dropped, len(second.failed)) == (2, [], 1)
    assert [item.partition(":")[0] for item in third.silent] == ["site3"]
    warnings = [warning for warning in results.warnings if warning.startswith("federated")]
    assert len(warnings) == 3
    assert "left out site1" in warnings[0]
    assert "tried again" in warnings[1]
    assert "missing: site0, site2" in warnings[1]
    assert "in the sum, but silent afterwards: site3" in warnings[2]


def test_bytes_are_those_that_travelled(results: Results, folder: Path) -> None:
    """A cohort of four: three uploads, then four, four; ring values, packets, signatures, shares."""
    values = load_model(folder / "model")[1].size
    row = rounds(results, "federated")[0]
    n, survivors, tail = 4, 3, 30
    upload = 34 + 32 * n + (n - 1) * (16 + 33 * n + 16)
    opening = 34 + 33 * survivors * (1 + n - survivors)
    ring = row.bytes_up - survivors * (upload + 98 + opening)
    assert ring % survivors == 0
    width = 2 if ring / survivors < 3 * values else 4
    assert 0 < ring / survivors / width - values < tail
    assert row.bytes_down > 4 * 4 * values


def test_the_report_tells_what_is_known(folder: Path, results: Results) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The federation is private" in page
    assert "do not tell how many images they trained on, nor how long" in page
    assert "in the sum, but silent afterwards: site3" in page
    written = json.loads((folder / "results.json").read_bytes())
    assert written["rounds"] == [row.model_dump(mode="json") for row in results.rounds]


def test_progress_counts_every_training_once(shown: io.StringIO, results: Results) -> None:
    text = shown.getvalue()
    total = 3 * 4 + 3 * 1 + 4 * 3 * 3
    assert f"{total}/{total}" in text
    assert results.arms


def test_progress_names_round_attempt_and_site(folder: Path, results: Results) -> None:
    request = read_request(folder)
    hospitals = build_hospitals(request.scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    job = plan_jobs(request.scenario, hospitals, request.seeds, 1, folder)[0]
    progress = RichProgress(Console(file=io.StringIO()))
    progress.jobs([])
    site, seen = SiteId("site1"), []
    progress._jobs[job.run] = job
    for kind, group in (("query.join", "0.1"), (UPLOAD, "2.1"), (UPLOAD, "2.3"), (UPLOAD, "4.1")):
        progress.handled(job.run, Handled(site, kind, group, 0.1))
        task = progress._progress.tasks[-1]
        seen.append((task.fields["note"], task.completed))
    assert seen == [
        ("query.join, site1", 0),
        ("round 2/3, site1", 1),
        ("round 2/3, attempt 3, site1", 1),
        ("last validation, site1", 1),
    ]
    assert job.arm == results.arms[0]


def test_a_private_run_is_resumed_where_it_was(folder: Path, results: Results) -> None:
    job = folder / "jobs" / "federated.seed0"
    before = (job / "model" / "model.safetensors").read_bytes()
    (job / DONE).unlink()
    again = simulate(read_request(folder), folder)
    assert (job / "model" / "model.safetensors").read_bytes() == before
    assert again.rounds == results.rounds
    assert again.metrics == results.metrics


def test_a_run_that_loses_too_many_sites_fails_in_words(tmp_path: Path) -> None:
    silent = [{"site": f"site{number}", "round": 2, "stage": "upload"} for number in range(2)]
    with pytest.raises(WardroundError, match="missing: site0, site1") as refused:
        simulate(new_request(scenario(faults=silent), device="cpu"), tmp_path / "run")
    assert refused.value.code == "WR-1711"
