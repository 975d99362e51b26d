"""A coordinator that is killed at any moment goes on from its last committed round, and nobody can tell afterwards.

A kill is an exception that nothing catches, raised at one durable step or at one answer of a hospital; then a new
coordinator, and where it says so new hospitals, begin on the same folders.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.promised_runs import promised_scenario
from fakes.scenarios import chest_scenario
from flwr.app import Context, RecordDict

from wardround.client import app as hospital_app
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.server.app import app as coordinator_app
from wardround.server.open_records import FOLDER
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.server.rounds import store
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import build_hospitals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.simulations.grid import Handled
    from wardround.simulations.hospitals import VirtualHospital


class Killed(BaseException):
    """The coordinator's process ends here."""


class Clock:
    """Counts steps and kills at one of them; 0 kills nobody."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.count = at, 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed


class Consortium:
    """Hospitals that approved one study, and a coordinator's folder."""

    def __init__(self, folder: Path, scenario: Any) -> None:
        self.out, self.study = folder / "out", scenario.study
        self.out.mkdir(parents=True)
        self.hospitals: dict[SiteId, VirtualHospital] = build_hospitals(
            scenario, None, folder, device="cpu", threads=1, progress=lambda _: None
        )
        for hospital in self.hospitals.values():
            hospital.home.approve(scenario.study)

    def coordinate(self, answered: Callable[[Handled], None] | None = None, **changes: Any) -> dict[str, Any]:
        plan = RunPlan(study=self.study, run="run", out=self.out, **changes)
        path = self.out / "plan.json"
        path.write_text(plan.model_dump_json(by_alias=True))
        grid = InProcessGrid({site: self.hospitals[site].home.path for site in self.study.site_ids}, answered)
        coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(path)}))
        history: dict[str, Any] = json.loads((self.out / "history.json").read_text())
        for record in history["rounds"]:  # what clocks say is no part of what is compared
            record["seconds"] = record["train_seconds"] = None
        return history

    @property
    def model(self) -> bytes:
        return (self.out / "model" / "model.safetensors").read_bytes()

    def steps(self) -> list[int]:
        """Steps that each training patient paid for, by hospital."""
        states = (hospital.home.ledger.state() for hospital in self.hospitals.values())
        return [state.runs[StudyRunId("run")].spent_steps for state in states]


def plain(rule: str) -> Any:
    return chest_scenario(
        training={"rounds": 3, "epochs": 3, "optimizer_state": "reset"},
        selection={"rule": rule},
        simulation={"arms": ["federated"]},
    )


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock], None]:
    """Let a clock count the durable steps of coordinators: before each file has its name, and after."""
    write = store.write_durably

    def install(clock: Clock) -> None:
        def counted(path: Path, content: bytes) -> None:
            clock.tick()
            write(path, content)
            clock.tick()

        monkeypatch.setattr(store, "write_durably", counted)

    return install


def restart_hospitals() -> None:
    """What hospitals had in memory alone is gone."""
    hospital_app._hospital.cache_clear()


@pytest.mark.parametrize("rule", ["validation", "ema"])
def test_killed_at_every_durable_step_the_model_is_the_same(
    rule: str, tmp_path: Path, durable: Callable[[Clock], None]
) -> None:
    calm, clock = Consortium(tmp_path / "calm", plain(rule)), Clock()
    durable(clock)
    expected = calm.coordinate()
    steps = clock.count
    assert steps >= 2 * (1 + 3 * 2), "the positive control: descriptions, and in each round a model and the records"
    broken, kills = Consortium(tmp_path / "broken", plain(rule)), 0
    durable(clock := Clock())
    for at in range(1, steps + 1):
        clock.at, clock.count = at, 0
        folder = broken.out / FOLDER
        for left in (*folder.glob("*"), *folder.glob(".*")):
            left.unlink()
        with pytest.raises(Killed):
            broken.coordinate()
        kills += 1
        restart_hospitals()
        clock.at = 0
        assert broken.coordinate() == expected
        assert broken.model == calm.model
    assert kills == steps


def test_killed_at_every_answer_of_a_hospital(tmp_path: Path) -> None:
    calm, clock = Consortium(tmp_path / "calm", plain("last")), Clock()
    expected = calm.coordinate(lambda _: clock.tick())
    answers, trained = clock.count, []
    broken = Consortium(tmp_path / "broken", plain("last"))
    for at in range(1, answers + 1):  # each coordinator is killed one answer later than the one before
        clock.at, clock.count = at, 0

        def answered(handled: Handled) -> None:
            trained.append((handled.kind, handled.group))
            clock.tick()

        try:
            found = broken.coordinate(answered)
        except Killed:
            continue
        break
    assert found == expected
    assert broken.model == calm.model
    assert at > 3, "the positive control: several were killed"
    assert trained.count(("query.describe", "0")) < 2 * len(broken.study.sites) + 4, "what was described is kept"
    assert ("train", "3") in trained


def test_without_its_records_a_run_begins_anew(tmp_path: Path) -> None:
    """The positive control: a run that is not resumable trains its first round again."""
    asked: list[str] = []
    clock = Clock(0)

    def answered(handled: Handled) -> None:
        asked.append(handled.group)
        clock.tick()

    for resumable, again in ((False, True), (True, False)):
        consortium = Consortium(tmp_path / str(resumable), plain("last"))
        nodes = len(consortium.study.sites)
        clock.at, clock.count = 3 * nodes + 1, 0  # hello, describe, round 1, and one of round 2
        with pytest.raises(Killed):
            consortium.coordinate(answered, resumable=resumable)
        asked.clear()
        clock.at = 0
        consortium.coordinate(answered, resumable=resumable)
        assert ("1" in asked) is again


def test_records_of_another_run_are_refused(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path, plain("last"))
    consortium.coordinate()
    consortium.coordinate()  # the positive control
    with pytest.raises(WardroundError) as refused:
        consortium.coordinate(seed=1)
    assert refused.value.code == "WR-1714"


@pytest.mark.parametrize("killed", ["coordinator", "everybody"])
def test_a_promise_is_paid_for_once_wherever_the_coordinator_is_killed(killed: str, tmp_path: Path) -> None:
    """Killed at each answer in turn, alone or with all hospitals: no round is computed twice."""
    scenario = promised_scenario(3, rounds=3, trust="local", epsilon=4.0, rate=0.5)
    consortium, clock = Consortium(tmp_path, scenario), Clock()
    kills = 0
    for at in range(1, 50):
        clock.at, clock.count = at, 0
        try:
            history = consortium.coordinate(lambda _: clock.tick())
        except Killed:
            kills += 1
            if killed == "everybody":
                restart_hospitals()
            continue
        break
    assert kills > 5, "the positive control"
    assert [record["round"] for record in history["rounds"]] == [1, 2, 3]
    assert consortium.steps() == [3, 3, 3]
    assert not list(tmp_path.rglob("newest.round")), "erased with the end of the run"
