"""Hospitals that fall silent by configuration: the round goes on without them, and every table says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fakes.scenarios import chest_scenario

from wardround.common.ids import SiteId
from wardround.simulations.arms import plan_jobs
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.faults import NO_ANSWER, Fault
from wardround.simulations.hospitals import build_hospitals
from wardround.simulations.job import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.job import Job
    from wardround.simulations.run_folder import RunRequest

SILENT = {"site": "coast", "round": 2, "stage": "upload"}


def request(*faults: dict[str, Any]) -> RunRequest:
    scenario = chest_scenario(simulation={"arms": ["federated", "local"]}, faults=list(faults))
    return new_request(scenario, device="cpu")


def test_a_silent_hospital_is_missing_in_its_round_only_and_named(tmp_path: Path) -> None:
    faulty, whole = tmp_path / "faulty", tmp_path / "whole"
    results, control = simulate(request(SILENT), faulty), simulate(request(), whole)
    rounds = {row.round: row for row in results.rounds if row.arm == "federated"}
    assert rounds[2].sites == ["north", "valley"]
    assert rounds[2].dropped == [f"coast: {NO_ANSWER}"]
    assert all(rounds[number].sites == ["coast", "north", "valley"] for number in (1, 3))
    assert not [row for row in results.rounds if row.dropped and (row.arm, row.round) != ("federated", 2)]
    assert (results.status, control.status) == ("completed_with_losses", "completed")
    assert any("round 2: left out coast" in warning for warning in results.warnings)
    assert json.loads((faulty / "settings.json").read_text())["faults"] == [SILENT | {"attempts": None}]
    assert load_model(faulty / "model")[2].tobytes() != load_model(whole / "model")[2].tobytes()
    local = "jobs/local.north.seed0/model"
    assert load_model(faulty / local)[2].tobytes() == load_model(whole / local)[2].tobytes()


def test_a_private_run_tells_lost_updates_from_silence_after_the_upload(tmp_path: Path) -> None:
    faults = [
        SILENT | {"attempts": 1},
        {"site": "north", "round": 3, "stage": "open"},
    ]
    scenario = chest_scenario(
        aggregation={"mode": "private", "secure": {"update_rms": 0.01, "weight_cap": 20}},
        simulation={"arms": ["federated"]},
        faults=faults,
    )
    results = simulate(new_request(scenario, device="cpu"), tmp_path / "run")
    first, tried_again, opened_by_two = results.rounds
    assert (first.failed, first.silent, first.attempts) == ([], [], 1)
    assert tried_again.attempts == 2
    assert len(tried_again.failed) == 1
    assert NO_ANSWER in tried_again.failed[0]
    assert opened_by_two.silent == [f"north: {NO_ANSWER}"]
    assert all(row.sites == ["coast", "north", "valley"] for row in results.rounds)
    assert results.status == "completed", "no update was lost"


def planned(folder: Path, sites: int = 3, **aggregation: Any) -> dict[str, Job]:
    """Every arm of a scenario of ``sites`` drawn hospitals, by name; nothing is trained."""
    names = [f"site{number}" for number in range(sites)]
    scenario = chest_scenario(
        sites=names,
        aggregation={"secure": {"update_rms": 0.01}} | aggregation,
        faults=[SILENT | {"site": "site1"}],
        simulation={
            "arms": ["federated", "centralised", "local", "leave-one-out"],
            "unseen": [],
            "sites": [{"name": name, "patients": 12, "prevalence": 0.5} for name in names],
        },
    )
    hospitals = build_hospitals(scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    jobs = {job.arm: job for job in plan_jobs(scenario, hospitals, [0], 1, folder)}
    assert jobs["federated"].study.id == scenario.study.id
    return jobs


def test_arms_with_too_few_sites_for_a_secure_sum_are_open_baselines(tmp_path: Path) -> None:
    three = planned(tmp_path / "three", mode="private")
    assert [arm for arm, job in three.items() if job.study.private] == ["federated"]
    assert all(job.study.aggregation.secure is None for arm, job in three.items() if arm != "federated")
    four = planned(tmp_path / "four", sites=4, mode="private")
    assert [arm for arm, job in four.items() if job.study.private] == [
        "federated",
        *(f"leave-one-out/site{number}" for number in range(4)),
    ]
    assert {job.study.colluding for job in four.values() if job.study.private} == {1}
    careful = planned(tmp_path / "careful", sites=4, mode="private", secure={"update_rms": 0.01, "colluding": 2})
    assert [arm for arm, job in careful.items() if job.study.private] == ["federated"]


def test_every_arm_of_an_open_scenario_is_open(tmp_path: Path) -> None:
    assert not [job for job in planned(tmp_path, mode="open").values() if job.study.private]


def test_faults_happen_in_the_federated_arm_alone(tmp_path: Path) -> None:
    jobs = planned(tmp_path)
    assert jobs["federated"].faults == (Fault(site=SiteId("site1"), round=2, stage="upload"),)
    assert not [arm for arm, job in jobs.items() if job.faults and arm != "federated"]
