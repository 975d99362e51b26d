"""Faults: which messages stay unanswered, which faults are refused, and where the rest of a run learns of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.scenarios import chest_fields, chest_scenario

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.model_folder import MODEL_FILES
from wardround.simulations.experiment import new_request
from wardround.simulations.faults import NO_ANSWER, Fault
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.job import Job
from wardround.simulations.run_folder import open_run, read_request
from wardround.simulations.scenario import build_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.scenario import Scenario

NORTH, COAST = SiteId("north"), SiteId("coast")
PRIVATE = {"mode": "private", "secure": {"update_rms": 0.01}}
UPLOAD = {"site": "north", "round": 2, "stage": "upload"}


def unanswered(fault: Fault, *, attempt: int = 1) -> list[str]:
    """Exchanges of the fault's round, in private mode, that its site leaves unanswered."""
    group = f"{fault.round}.{attempt}"
    kinds = ("train.private", "query.confirm", "query.open", "query.ended")
    return [kind for kind in kinds if fault.covers(SiteId(fault.site), kind, group)]


@pytest.mark.parametrize(
    ("stage", "silent"),
    [
        ("upload", ["train.private", "query.confirm", "query.open", "query.ended"]),
        ("confirm", ["query.confirm", "query.open", "query.ended"]),
        ("open", ["query.open", "query.ended"]),
    ],
)
def test_a_site_is_silent_from_its_stage_on(stage: Any, silent: list[str]) -> None:
    fault = Fault(site="north", round=2, stage=stage)
    assert unanswered(fault) == unanswered(fault, attempt=3) == silent


def test_a_site_may_answer_again_in_a_later_attempt() -> None:
    fault = Fault(site="north", round=2, stage="open", attempts=2)
    assert unanswered(fault, attempt=1) == unanswered(fault, attempt=2) == ["query.open", "query.ended"]
    assert unanswered(fault, attempt=3) == []


def test_only_its_own_round_and_site_are_silent() -> None:
    fault = Fault(site="north", round=1, stage="upload")
    assert fault.covers(NORTH, "train", "1")
    assert fault.covers(NORTH, "train.private", "1.1")
    for site, kind, group in (
        (COAST, "train", "1"),
        (NORTH, "train", "2"),
        (NORTH, "train", "11"),
        (NORTH, "train.private", "11.1"),
        (NORTH, "query.describe", "1"),
        (NORTH, "evaluate", "1"),
    ):
        assert not fault.covers(site, kind, group)


def with_faults(*faults: dict[str, Any], **sections: Any) -> Scenario:
    return chest_scenario(faults=list(faults), **sections)


@pytest.mark.parametrize(
    ("fault", "sections", "named"),
    [
        ({"site": "island"}, {}, "training sites"),
        ({"round": 4}, {}, "3 rounds"),
        ({"round": 0}, {}, "round"),
        ({"stage": "training"}, {}, "stage"),
        ({"stage": "confirm"}, {}, "mode open is upload"),
        ({"stage": "open"}, {}, "mode open is upload"),
        ({"attempts": 4}, {"aggregation": PRIVATE}, "3 attempts"),
        (
            {"stage": "confirm"},
            {"aggregation": {"mode": "private", "secure": {"update_rms": 0.01, "strength": "semi-honest"}}},
            "nothing is confirmed",
        ),
        ({"sites": "north"}, {}, "sites"),
        ({}, {"simulation": {"arms": ["local"]}}, "arm federated"),
    ],
)
def test_faults_that_cannot_happen_are_refused(fault: dict[str, Any], sections: dict[str, Any], named: str) -> None:
    assert with_faults(UPLOAD).faults == (Fault(site="north", round=2, stage="upload"),)
    with pytest.raises(WardroundError, match=named) as refused:
        with_faults(UPLOAD | fault, **sections)
    assert refused.value.code == "WR-1010"


def test_one_site_has_one_fault_a_round() -> None:
    assert len(with_faults(UPLOAD, UPLOAD | {"round": 3}, UPLOAD | {"site": "coast"}).faults) == 3
    with pytest.raises(WardroundError, match=r"Fault 2 .* already has a fault in round 2"):
        with_faults(UPLOAD, UPLOAD)


def test_every_stage_exists_in_private_mode() -> None:
    for stage in ("upload", "confirm", "open"):
        assert with_faults(UPLOAD | {"stage": stage, "attempts": 1}, aggregation=PRIVATE).faults


def test_faults_are_no_part_of_the_study() -> None:
    assert with_faults(UPLOAD).study.id == build_scenario(chest_fields()).study.id


def test_a_run_belongs_to_its_faults(tmp_path: Path) -> None:
    asked = new_request(with_faults(UPLOAD))
    with open_run(tmp_path / "run", asked):
        (tmp_path / "run" / "jobs").mkdir()
    assert read_request(tmp_path / "run").scenario.faults == asked.faults
    with open_run(tmp_path / "run", asked):
        pass
    with (
        pytest.raises(WardroundError, match="other settings") as refused,
        open_run(tmp_path / "run", new_request(with_faults())),
    ):
        pass
    assert refused.value.code == "WR-1501"


def test_a_job_that_ran_with_other_faults_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("cases.csv", "history.json", *(f"model/{name}" for name in MODEL_FILES)):
        (tmp_path / name).write_text("")
    faulty = with_faults(UPLOAD)
    job = Job("federated", faulty.study, 0, None, 1, 10, {}, {}, tmp_path, {}, faulty.faults)
    job.mark_finished()
    assert job.finished()
    assert not Job("federated", faulty.study, 0, None, 1, 10, {}, {}, tmp_path, {}, ()).finished()


def test_a_silent_hospital_is_an_error_with_a_reason(tmp_path: Path) -> None:
    from flwr.app import RecordDict

    seen: list[str] = []
    fault = Fault(site="north", round=2, stage="upload")
    grid = InProcessGrid({NORTH: tmp_path}, lambda handled: seen.append(handled.site), [fault])
    message = grid.create_message(RecordDict(), "train", grid.nodes[NORTH], "2")
    (reply,) = grid.send_and_receive([message])
    assert reply.error.reason == NO_ANSWER
    assert reply.metadata.src_node_id == grid.nodes[NORTH]
    assert seen == ["north"], "progress goes on"
