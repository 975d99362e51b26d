"""A whole simulation on drawn chests: one code path from the scenario to the results."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fakes.scenarios import chest_scenario

from wardround.client.data.pool import open_site_data
from wardround.client.home import RegisteredData
from wardround.client.train.device import set_threads
from wardround.common.errors import WardroundError
from wardround.simulations.evaluation import evaluate_model
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.job import load_model
from wardround.simulations.progress import QuietProgress
from wardround.simulations.results import Results
from wardround.simulations.run_folder import read_request

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.run_folder import RunRequest

pytestmark = pytest.mark.xdist_group("simulate")  # one process makes the shared run once


def request(**sections: Any) -> RunRequest:
    return new_request(chest_scenario(**sections), None, seeds=1, folds=1, device="cpu", threads=1)


def run(folder: Path, asked: RunRequest, workers: int = 1) -> Results:
    return simulate(asked, folder, workers=workers, progress=QuietProgress())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    folder = tmp_path_factory.mktemp("simulation") / "run"
    return folder, run(folder, request())


def test_the_run_folder_is_complete(finished: tuple[Path, Results]) -> None:
    folder, results = finished
    for name in (
        "study.json",
        "settings.json",
        "results.json",
        "metrics.csv",
        "cases.csv",
        "rounds.jsonl",
        "report.html",
    ):
        assert (folder / name).stat().st_size > 0, name
    for name in ("model.safetensors", "layout.json", "study.json", "card.json"):
        assert (folder / "model" / name).exists()
    assert list((folder / "figures").glob("*.png"))
    assert Results.model_validate(json.loads((folder / "results.json").read_text())) == results


def test_every_arm_is_scored_on_every_hospital(finished: tuple[Path, Results]) -> None:
    folder, results = finished
    cases = pd.read_csv(folder / "cases.csv")
    assert results.arms == ["federated", "centralised", "local/north", "local/coast", "local/valley"]
    scored = cases.groupby("arm")["test_site"].unique()
    for arm in results.arms:
        assert set(scored[arm]) == {"north", "coast", "valley", "island"}
    assert results.status == "completed"


def test_every_arm_does_equal_work(finished: tuple[Path, Results]) -> None:
    _, results = finished
    work = {arm: sum(row.samples for row in results.rounds if row.arm == arm) for arm in results.arms}
    assert len(set(work.values())) == 1
    assert min(work.values()) > 0


def test_all_patients_of_an_unseen_hospital_are_scored_and_test_patients_elsewhere(
    finished: tuple[Path, Results],
) -> None:
    folder, results = finished
    cases = pd.read_csv(folder / "cases.csv")
    patients = cases[cases["arm"] == "federated"].groupby("test_site")["patient"].nunique()
    assert patients["island"] == 10
    assert patients["north"] == 8
    north, island = results.hospitals["north"], results.hospitals["island"]
    assert (north["trained"], north["parts"]["test"][0]) == (True, 8)
    assert (island["trained"], island["parts"]["test"][0], island["parts"]["train"][0]) == (False, 10, 0)


def test_no_raw_patient_id_reaches_the_run_folder_tables(finished: tuple[Path, Results]) -> None:
    folder, _ = finished
    tables = list((folder / "sites").rglob("*.csv"))
    raw = {
        row["patient"] for table in tables for row in csv.DictReader(table.open(encoding="utf-8")) if "patient" in row
    }
    assert raw, "the positive control: the hospitals' own tables do hold patient ids"
    written = "".join((folder / name).read_text() for name in ("cases.csv", "results.json", "report.html"))
    assert not [patient for patient in raw if patient in written]


def test_workers_and_resuming_do_not_change_a_bit(finished: tuple[Path, Results], tmp_path: Path) -> None:
    folder, results = finished
    again = tmp_path / "again"
    run(again, request(), workers=2)
    assert (again / "cases.csv").read_bytes() == (folder / "cases.csv").read_bytes()
    assert load_model(again / "model")[2].tobytes() == load_model(folder / "model")[2].tobytes()
    lost = again / "jobs" / "local.coast.seed0"
    (lost / "done.json").unlink()
    stamp = (again / "jobs" / "federated.seed0" / "done.json").stat().st_mtime_ns
    resumed = run(again, read_request(again))
    assert (again / "jobs" / "federated.seed0" / "done.json").stat().st_mtime_ns == stamp
    assert (lost / "done.json").exists()
    assert resumed.metrics == results.metrics


def test_another_seed_changes_the_model(finished: tuple[Path, Results], tmp_path: Path) -> None:
    """The positive control of bit identity."""
    folder, _ = finished
    asked = new_request(
        chest_scenario(simulation={"arms": ["federated"]}), None, seeds=2, folds=1, device="cpu", threads=1
    )
    run(tmp_path / "run", asked)
    first = load_model(tmp_path / "run" / "jobs" / "federated.seed0" / "model")[2].tobytes()
    second = load_model(tmp_path / "run" / "jobs" / "federated.seed1" / "model")[2].tobytes()
    assert first == load_model(folder / "model")[2].tobytes()
    assert second != first


def test_a_run_folder_belongs_to_one_request(finished: tuple[Path, Results], tmp_path: Path) -> None:
    folder, _ = finished
    with pytest.raises(WardroundError) as refused:
        run(folder, request(training={"rounds": 2}))
    assert refused.value.code == "WR-1501"
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(WardroundError) as refused:
        run(tmp_path, request())
    assert refused.value.code == "WR-1501"
    assert (tmp_path / "letter.txt").read_text() == "mine"
    with pytest.raises(WardroundError) as refused:
        read_request(tmp_path)
    assert refused.value.code == "WR-1502"


def test_a_saved_model_scores_as_it_did_in_the_run(finished: tuple[Path, Results], tmp_path: Path) -> None:
    folder, results = finished
    manifest = next((folder / "sites" / "island").rglob("*.toml"))
    found = evaluate_model(folder / "model", manifest, None, tmp_path / "out", device="cpu")
    wanted = {
        (row.label, row.metric): row.value
        for row in results.metrics
        if (row.arm, row.test_site) == ("federated", "island")
    }
    assert {(row.label, row.metric): row.value for row in found.metrics if row.test_site == "island"} == wanted
    assert (tmp_path / "out" / "cases.csv").exists()


def test_a_damaged_model_is_refused(finished: tuple[Path, Results], tmp_path: Path) -> None:
    folder, _ = finished
    copy = tmp_path / "model"
    copy.mkdir()
    for file in (folder / "model").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    load_model(copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(WardroundError) as refused:
        load_model(copy)
    assert refused.value.code == "WR-1503"
    (copy / "layout.json").unlink()
    with pytest.raises(WardroundError, match=r"layout\.json"):
        load_model(copy)


def test_folds_pool_out_of_fold_predictions(tmp_path: Path) -> None:
    scenario = chest_scenario(simulation={"arms": ["federated", "local"]}, training={"rounds": 1, "epochs": 1})
    asked = new_request(scenario, None, seeds=1, folds=3, device="cpu", threads=1)
    results = run(tmp_path / "run", asked)
    cases = pd.read_csv(tmp_path / "run" / "cases.csv")
    federated = cases[(cases["arm"] == "federated") & (cases["test_site"] == "north")]
    assert federated["patient"].nunique() == 20
    assert not federated.duplicated("sample").any()
    assert results.folds == 3
    assert {row.fold for row in results.rounds} == {0, 1, 2}


def test_a_leave_one_site_out_protocol(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "training": {"rounds": 1, "epochs": 1},
        "selection": {"rule": "last"},
        "split": {"validation": 0, "test": 0, "min_patients": 1},
        "evaluation": {"intervals": False},
        "simulation": {"protocol": "leave-one-site-out", "arms": ["leave-one-out", "local"], "unseen": ["island"]},
    }
    results = run(tmp_path / "run", request(**fields))
    cases = pd.read_csv(tmp_path / "run" / "cases.csv")
    own = cases[cases["arm"] == "leave-one-out/north"]
    assert set(own["test_site"]) == {"north", "island"}
    assert own[own["test_site"] == "north"]["patient"].nunique() == 20
    assert all(row.ci95 is None for row in results.metrics)


def test_a_site_whose_loss_explodes_is_left_out_and_said(tmp_path: Path) -> None:
    """A huge learning rate gives updates that are not finite: the run refuses rather than reports them."""
    set_threads(1)
    hopeless = request(training={"optimizer": "sgd", "learning_rate": 1e30}, simulation={"arms": ["federated"]})
    with pytest.raises(WardroundError, match="WR-1203") as refused:
        run(tmp_path / "run", hopeless)
    assert refused.value.code == "WR-1303"


def test_a_patient_in_two_data_sets_of_a_hospital_is_refused(finished: tuple[Path, Results]) -> None:
    folder, _ = finished
    north = RegisteredData(manifest=next((folder / "sites" / "north").rglob("*.toml")))
    coast = RegisteredData(manifest=next((folder / "sites" / "coast").rglob("*.toml")))
    study = read_request(folder).study
    together = open_site_data([north, coast], study, folder / "hospitals" / "north")
    assert together.patients(np.arange(len(together.prepared.rows))) == 36
    with pytest.raises(WardroundError) as refused:
        open_site_data([north, north], study, folder / "hospitals" / "north")
    assert refused.value.code == "WR-1118"
