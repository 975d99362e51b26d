"""A coordinator's process with real SuperLink, gateway and run processes; hospitals call with the installed app."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.scenarios import chest_scenario
from fakes.serving import alive, serving, wait_for
from flwr.app import Context, RecordDict

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.server.app import app as coordinator_app
from wardround.server.lock import is_served
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.server.runs import orders
from wardround.server.runs.manager import DEATHS
from wardround.server.serve import serve
from wardround.simulations.grid import InProcessGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes.serving import Serving
    from flwr.app import Message


def scenario(min_sites: int = 2, **training: Any) -> Any:
    return chest_scenario(
        training={"rounds": 3, "epochs": 3, "optimizer_state": "reset"} | training,
        selection={"rule": "last"},
        aggregation={"mode": "open", "min_sites": min_sites},
        simulation={"arms": ["federated"]},
    )


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, scenario()) as started:
        yield started


def model(stand: Serving, run: str) -> bytes:
    return (stand.path / "runs" / run / "model" / "model.safetensors").read_bytes()


def simulated(stand: Serving, folder: Path) -> bytes:
    """The model of the same study in one process."""
    study = next(iter(stand.consortium.store.studies()))
    folder.mkdir()
    plan = RunPlan(study=orders.read_study(stand.consortium, study), run="simulated", out=folder)
    (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True))
    grid = InProcessGrid({site: hospital.home.path for site, hospital in stand.hospitals.items()})
    coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(folder / "plan.json")}))
    return (folder / "model" / "model.safetensors").read_bytes()


def on(message: str, action: Callable[[], object]) -> Callable[[Message], None]:
    """Do something once, when a message of a kind and group comes: ``train 2``."""
    done = threading.Event()

    def before(found: Message) -> None:
        if f"{found.metadata.message_type} {found.metadata.group_id}" == message and not done.is_set():
            done.set()
            action()

    return before


def test_a_run_from_start_to_model_and_what_is_told_of_it(stand: Serving, tmp_path: Path) -> None:
    status = json.loads((stand.path / "status.json").read_bytes())
    row = stand.start(scenario().study)
    with pytest.raises(WardroundError) as twice:
        stand.start(scenario().study)
    assert twice.value.code == "WR-1923"
    ended = stand.ended(row.id)
    assert (ended.state, ended.committed) == ("completed", 3), ended.words
    assert model(stand, row.id) == simulated(stand, tmp_path / "simulated")
    told = [event.words for event in stand.consortium.store.events() if event.run == row.id]
    assert "round 3 of 3: 3 sites" in told
    lines = [json.loads(line) for line in (stand.path / "log" / "coordinator.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line.get("event") == "round"]
    assert {line["round"] for line in rounds} == {1, 2, 3}
    assert all(line["run"] == row.id for line in rounds)
    base = f"http://127.0.0.1:{status['metrics_port']}"
    metrics = httpx.get(f"{base}/metrics").text
    assert 'wardround_coordinator_runs{state="completed"} 1.0\n' in metrics
    assert f'wardround_coordinator_run_committed_rounds{{run="{row.id}"}} 3.0\n' in metrics
    assert 'wardround_coordinator_sites{presence="heard"} 3.0\n' in metrics
    assert httpx.get(f"{base}/health").status_code == 200


def test_one_process_a_folder_and_a_clean_stop(stand: Serving) -> None:
    with pytest.raises(WardroundError) as refused:
        serve(stand.path)
    assert refused.value.code == "WR-1916"
    children = stand.children()
    assert children
    assert stand.kill(signal.SIGTERM) == 0
    assert not is_served(stand.path)
    assert not [pid for pid in children if alive(pid)]
    assert not (stand.path / "status.json").exists()
    stand.serve()  # the positive control


def test_killed_at_any_place_the_model_is_that_of_a_calm_run(stand: Serving, tmp_path: Path) -> None:
    """kill -9 of the run's process in round 1, of the SuperLink in round 2, of everything in round 3."""
    row = orders.find_study(stand.consortium.store, scenario().study.name)
    killed: list[str] = []

    def kill_child(program: str) -> None:
        (pid,) = stand.children(program)
        os.kill(pid, signal.SIGKILL)
        killed.append(program)

    def kill_all() -> None:
        children = stand.children()
        stand.kill()
        killed.append("serve")
        wait_for(lambda: not [pid for pid in children if alive(pid)], 30)
        stand.serve()

    agents = list(stand.agents.values())
    agents[0].before = on("train 1", lambda: kill_child("wardround.server.runs.child"))
    agents[1].before = on("train 2", lambda: kill_child("wardround.server.flower"))
    agents[2].before = on("train 3", kill_all)
    run = stand.start(scenario().study)
    ended = stand.ended(run.id, 400)
    assert killed == ["wardround.server.runs.child", "wardround.server.flower", "serve"], "the positive control"
    assert ended.state == "completed", ended.words
    assert row.id == ended.study
    assert model(stand, run.id) == simulated(stand, tmp_path / "simulated")


def test_a_silent_site_is_left_out_in_words_and_too_few_are_waited_for(stand: Serving) -> None:
    """north leaves in round 2 for good; coast in round 3, where one site is too few, and comes back."""
    north, coast = (stand.agents[SiteId(site)] for site in ("north", "coast"))
    north.before = on("train 2", north.leave)
    coast.before = on("train 3", coast.leave)
    run = stand.start(scenario().study)
    wait_for(lambda: "waits until 2 sites are heard" in stand.run(run.id).words)
    assert "coast (not heard since" in stand.run(run.id).words
    assert stand.run(run.id).committed == 2
    coast.stop()
    coast.start()
    ended = stand.ended(run.id)
    assert ended.state == "completed_with_losses", ended.words
    rounds = json.loads((stand.path / "runs" / run.id / "history.json").read_text())["rounds"]
    assert rounds[0]["dropped"] == {}, "the positive control"
    assert rounds[1]["dropped"]["north"].startswith("not heard since")
    assert [record["sites"] for record in rounds[1:]] == [["coast", "valley"]] * 2


def test_a_site_that_is_revoked_is_left_out_from_then_on(stand: Serving) -> None:
    """Revoked in round 2; the run's process is killed in round 3, and the next one finds no node of that site."""
    north, coast = SiteId("north"), stand.agents[SiteId("coast")]
    revoke = partial(stand.consortium.revoke, north, "left", now=int(time.time()))
    stand.agents[north].before = on("train 2", lambda: (stand.agents[north].leave(), revoke()))
    coast.before = on("train 3", lambda: os.kill(stand.children("wardround.server.runs.child")[0], signal.SIGKILL))
    run = stand.start(scenario().study)
    ended = stand.ended(run.id)
    assert ended.state == "completed_with_losses", ended.words
    rounds = json.loads((stand.path / "runs" / run.id / "history.json").read_text())["rounds"]
    assert [record["sites"] for record in rounds[1:]] == [["coast", "valley"]] * 2
    assert rounds[0]["dropped"] == {}, "the positive control"
    assert rounds[1]["dropped"]["north"]


def test_a_process_that_keeps_dying_fails_the_run_in_words(stand: Serving, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(message: Message) -> None:
        if message.metadata.message_type == "train" and len(killed) < DEATHS:
            killed.extend(stand.children("wardround.server.runs.child"))
            os.kill(killed[-1], signal.SIGKILL)

    first = next(iter(stand.agents.values()))
    first.before = kill
    run = stand.start(scenario().study)
    ended = stand.ended(run.id)
    assert (ended.state, ended.committed, len(killed)) == ("failed", 0, DEATHS)
    assert ended.words.startswith("WR-1935")
    orders.resume(stand.consortium, run.id, by="Dr. Test")  # the positive control
    assert stand.ended(run.id).state == "completed"
    assert model(stand, run.id) == simulated(stand, tmp_path / "simulated")


def test_a_run_is_stopped_and_gone_on_with(stand: Serving, tmp_path: Path) -> None:
    first = next(iter(stand.agents.values()))
    run = stand.start(scenario().study)
    held = threading.Event()

    def stop() -> None:
        orders.stop(stand.consortium.store, run.id, by="Dr. Test")
        held.set()

    first.before = on("train 2", stop)
    held.wait(180)
    wait_for(lambda: not stand.children("wardround.server.runs.child"), 60)
    row = stand.run(run.id)
    assert row.state == "stopped"
    assert row.committed in {1, 2}  # the round in which it is stopped may come to its end
    with pytest.raises(WardroundError) as over:
        orders.stop(stand.consortium.store, run.id, by="Dr. Test")
    assert over.value.code == "WR-1923"
    orders.resume(stand.consortium, run.id, by="Dr. Test")
    ended = stand.ended(run.id)
    assert ended.state == "completed", ended.words
    assert model(stand, run.id) == simulated(stand, tmp_path / "simulated")


def test_nothing_starts_without_approvals(stand: Serving) -> None:
    study = scenario().study
    stand.decide(study, SiteId("coast"), "withdrawn")
    with pytest.raises(WardroundError) as refused:
        stand.start(study)
    assert refused.value.code == "WR-1913"
    assert "coast: withdrawn" in refused.value.what
    for without in (["coast", "north"], ["nowhere"]):
        with pytest.raises(WardroundError) as few:
            stand.start(study, without=without)
        assert few.value.code == "WR-1913"
    run = stand.start(study, without=["coast"])  # the positive control
    ended = stand.ended(run.id)
    assert ended.state == "completed_with_losses", ended.words
    history = json.loads((stand.path / "runs" / run.id / "history.json").read_text())
    assert all("without this site" in record["dropped"]["coast"] for record in history["rounds"])
    assert not stand.agents[SiteId("coast")].handled
