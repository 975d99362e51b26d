"""Private and promised studies over a coordinator that is killed in the middle: nothing is lost, nothing paid twice."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fakes.promised_runs import promised_scenario
from fakes.scenarios import chest_scenario
from fakes.serving import alive, serving, wait_for

from wardround.client import app as hospital_app
from wardround.common.ids import StudyRunId
from wardround.common.wire import noisy, private

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.serving import Serving
    from flwr.app import Message


def kill_once(stand: Serving, kind: str, number: int) -> threading.Event:
    """Kill the coordinator's processes when the first hospital is asked for this in this round; hospitals forget."""
    killed = threading.Event()

    def before(message: Message) -> None:
        found = message.metadata
        if found.message_type == kind and found.group_id.partition(".")[0] == str(number) and not killed.is_set():
            killed.set()
            children = stand.children()
            stand.kill()
            wait_for(lambda: not [pid for pid in children if alive(pid)], 60)
            hospital_app._hospital.cache_clear()
            stand.serve()

    next(iter(stand.agents.values())).before = before
    return killed


def history(stand: Serving, run: str) -> list[dict[str, Any]]:
    found: dict[str, Any] = json.loads((stand.path / "runs" / run / "history.json").read_text())
    rounds: list[dict[str, Any]] = found["rounds"]
    return rounds


@pytest.mark.parametrize("stage", [private.UPLOAD, private.OPEN])
def test_a_private_run_survives_the_coordinator_s_death(stage: str, tmp_path: Path) -> None:
    scenario = chest_scenario(
        training={"rounds": 2, "epochs": 2},
        selection={"rule": "last"},
        aggregation={"mode": "private", "secure": {"update_rms": 0.01, "weight_cap": 20}},
        simulation={"arms": ["federated"]},
    )
    with serving(tmp_path, scenario) as stand:
        killed = kill_once(stand, stage, 2)
        run = stand.start(scenario.study)
        ended = stand.ended(run.id, 400)
        assert killed.is_set(), "the positive control"
        assert ended.state == "completed", ended.words
        rounds = history(stand, run.id)
    assert [record["sites"] for record in rounds] == [["coast", "north", "valley"]] * 2
    assert [record["train_seconds"] for record in rounds] == [None, None]


def test_a_promise_is_paid_for_once_over_the_coordinator_s_death(tmp_path: Path) -> None:
    scenario = promised_scenario(3, rounds=2, trust="local", epsilon=4.0, rate=0.5)
    with serving(tmp_path, scenario) as stand:
        killed = kill_once(stand, noisy.TRAIN, 2)
        run = stand.start(scenario.study)
        ended = stand.ended(run.id, 400)
        assert killed.is_set(), "the positive control"
        assert ended.state == "completed", ended.words
        states = [hospital.home.ledger.state() for hospital in stand.hospitals.values()]
    assert [state.runs[StudyRunId(run.id)].spent_steps for state in states] == [2, 2, 2]
    assert all(state.runs[StudyRunId(run.id)].settled for state in states)
