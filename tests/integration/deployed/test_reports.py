"""Reports of a deployed study: a hospital's has its own figures and nobody else's, the coordinator's has none."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
from fakes.command_lines import run_command

from wardround.client.home import Home
from wardround.common.errors import WardroundError
from wardround.simulations.deployed.central import ABSENT, KEPT, write_central_report
from wardround.simulations.deployed.own import write_own_report
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.report.load import load_results
from wardround.simulations.scenario import load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.results import Metric, Results

pytestmark = pytest.mark.xdist_group("deployed-reports")

SMALL = (
    'simulation.arms=["federated"]',
    "training.rounds=2",
    "training.epochs=2",
    "evaluation.bootstrap=100",
    "aggregation.mode=private",
    "aggregation.weights=equal",
    "selection.rule=last",
    "privacy.trust=distributed",
    "privacy.epsilon=8",
    "privacy.patients=100",
    "privacy.rate=1.0",
    "privacy.clip=1.0",
    "privacy.images_per_patient=2",
    "model.name=scattering",
    "model.parameters={}",
    "training.augmentation=[]",
    "training.optimizer=sgd",
)
SITE = "north"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private run with a promise, whose virtual hospitals stand for real ones."""
    run = tmp_path_factory.mktemp("simulated") / "run"
    simulate(new_request(load_scenario("phantom-cxr", SMALL)), run)
    return run


@pytest.fixture(scope="module")
def own(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own") / "report"
    write_own_report(Home(simulated / "hospitals" / SITE), simulated / "model", out)
    return out


@pytest.fixture(scope="module")
def central(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("central") / "report"
    write_central_report(simulated / "jobs" / "federated.seed0", out)
    return out


def _pooled(results: Results, arm: str, site: str) -> list[Metric]:
    return [row for row in results.metrics if (row.arm, row.test_site) == (arm, site) and row.seed is None]


def test_a_hospital_finds_the_figures_that_a_simulation_finds(simulated: Path, own: Path) -> None:
    whole, mine = load_results(simulated), load_results(own)
    assert _pooled(mine, "federated", SITE) == _pooled(whole, "federated", SITE)
    assert any(row.value is not None for row in _pooled(mine, "federated", SITE))


def test_it_compares_them_with_its_own_model(own: Path) -> None:
    found = load_results(own)
    assert found.arms == ["federated", f"local/{SITE}"]
    assert [(row.a, row.b, row.test_site) for row in found.tests] == [("federated", f"local/{SITE}", SITE)]
    assert found.tests[0].difference is not None
    assert {row.arm for row in found.rounds} == {f"local/{SITE}"}


def test_it_has_nobody_else_s_figures(own: Path) -> None:
    found = load_results(own)
    assert {row.test_site for row in found.metrics} == {SITE}
    assert found.data.keys() == found.hospitals.keys() == {SITE}
    with (own / "cases.csv").open(encoding="utf-8") as cases:
        assert {row["test_site"] for row in csv.DictReader(cases)} == {SITE}


def test_what_the_promise_cost_is_what_the_ledger_says(simulated: Path, own: Path) -> None:
    (mine,) = load_results(own).privacy
    whole = {row.site: row for row in load_results(simulated).privacy}
    assert mine == whole[SITE]
    assert mine.spent_epsilon is not None


def test_nothing_is_left_in_the_home_but_what_was_there(simulated: Path, tmp_path: Path) -> None:
    home = simulated / "hospitals" / SITE
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    write_own_report(Home(home), simulated / "model", tmp_path / "again")
    after = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    assert {path for path in after if path not in before and "ledger" not in path.name} == set()
    assert {path for path in before if before[path] != after[path] and "ledger" not in path.name} == set()


def test_the_coordinator_s_report_says_what_it_does_not_know(simulated: Path, central: Path) -> None:
    found, whole = load_results(central), load_results(simulated)
    assert {row.value for row in found.metrics} == {None}
    assert {row.reason for row in found.metrics} == {KEPT}
    assert {row.test_site for row in found.metrics} == {"north", "coast", "valley"}
    assert (found.data, found.hospitals, found.tests) == ({}, {}, [])
    assert found.rounds == [row for row in whole.rounds if row.arm == "federated"]
    assert found.model == whole.model
    assert [row.spent_epsilon for row in found.privacy] == [None] * 3
    page = (central / "report.html").read_text(encoding="utf-8")
    for words in ABSENT:
        assert words.split(":")[0] in page


def test_no_patient_is_in_the_coordinator_s_report(own: Path, central: Path) -> None:
    with (own / "cases.csv").open(encoding="utf-8") as cases:
        patients = {row["patient"] for row in csv.DictReader(cases)}
    mine, theirs = (
        b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()) for folder in (own, central)
    )
    assert patients
    assert all(patient.encode() in mine for patient in patients)
    assert not any(patient.encode() in theirs for patient in patients)


def test_a_folder_that_holds_something_is_left_alone(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WardroundError) as refused:
        write_own_report(Home(simulated / "hospitals" / SITE), simulated / "model", tmp_path)
    assert refused.value.code == "WR-1501"
    with pytest.raises(WardroundError) as refused:
        write_central_report(simulated / "jobs" / "federated.seed0", tmp_path)
    assert refused.value.code == "WR-1501"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_hospital_that_took_no_part_is_refused(simulated: Path, tmp_path: Path) -> None:
    from wardround.client.home import create_home
    from wardround.common.ids import SiteId

    stranger = create_home(tmp_path / "home", SiteId("elsewhere"), [], device="cpu", threads=1)
    with pytest.raises(WardroundError, match="elsewhere") as refused:
        write_own_report(stranger, simulated / "model", tmp_path / "out")
    assert refused.value.code == "WR-1306"
    assert not (tmp_path / "out").exists()


def test_the_commands_write_them(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "coordinator" / "runs").mkdir(parents=True)
    (tmp_path / "coordinator" / "runs" / "first").symlink_to(simulated / "jobs" / "federated.seed0")
    place = ("--dir", str(tmp_path / "coordinator"), "--json")
    done = run_command("coordinator", "report", "first", "--out", str(tmp_path / "central"), *place)
    assert json.loads(done.stdout)["seen_from"] == "coordinator"
    refused = run_command("coordinator", "report", "../first", "--out", str(tmp_path / "x"), *place)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, "WR-1923")
    (tmp_path / "coordinator" / "runs" / "second").mkdir()
    refused = run_command("coordinator", "report", "second", "--out", str(tmp_path / "x"), *place)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, "WR-1923")
    assert "no model to report yet" in refused.stdout
