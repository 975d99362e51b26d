"""With the same randomness a deployed study and its simulation give the same model, bit for bit, in every mode.

The randomness comes from the tests alone. Nothing that a hospital can be given, on a command line, in a file or in its
environment, has it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.agents import agents, decide, hospitals, join_all
from fakes.federated import federated
from fakes.injected_randomness import TESTS, inject, injected_worker
from fakes.scenarios import chest_scenario
from flwr.app import Context, RecordDict

from wardround.client.agent.frames import Question, VectorForm
from wardround.client.agent.warm import WORKER, Worker
from wardround.common.wire.records import RAW_FLOAT32
from wardround.server.app import app as coordinator_app
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.simulations.deployed.demo import model_hash
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import consortium_roster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.federated import Federated
    from flwr.serverapp import Grid

    from wardround.client.home import Home
    from wardround.server.flower import RuntimeGrid

pytestmark = pytest.mark.xdist_group("injected randomness")

SEED, ANOTHER = 7, 8
PROMISE = {"epsilon": 8.0, "patients": 20, "rate": 0.5}
NOISY_TRAINING = {"rounds": 2, "optimizer": "sgd", "momentum": 0.9, "augmentation": ["flip_lr"]}
SECURE = {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}}
MODES: dict[str, dict[str, Any]] = {
    "private": {"training": {"rounds": 2}, "aggregation": SECURE},
    "noisy in the open": {
        "training": NOISY_TRAINING,
        "aggregation": {"mode": "open", "weights": "equal"},
        "privacy": PROMISE | {"trust": "local"},
    },
    "noisy in private": {"training": NOISY_TRAINING, "aggregation": SECURE, "privacy": PROMISE | {"trust": "local"}},
    "distributed": {"training": NOISY_TRAINING, "aggregation": SECURE, "privacy": PROMISE | {"trust": "distributed"}},
}
SCENARIOS = {
    mode: chest_scenario(
        name=f"small-{mode.replace(' ', '-')}",
        selection={"rule": "last"},
        simulation={"arms": ["federated"]},
        **fields,
    )
    for mode, fields in MODES.items()
}


@dataclass
class Deployed:
    """Three hospitals whose agents' workers draw from :data:`SEED`."""

    stand: Federated
    grid: RuntimeGrid

    def model(self, mode: str) -> str:
        """The hash of what the study gives."""
        out = self.stand.folder / "coordinator" / "runs" / mode.replace(" ", "-")
        roster = self.stand.consortium.store.newest_roster()
        plan = RunPlan(study=SCENARIOS[mode].study, run=f"deployed-{out.name}", out=out, roster=roster)
        return model_hash(coordinate(self.grid, plan))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("injected")
    homes = hospitals(folder, SCENARIOS["private"])
    studies = [scenario.study for scenario in SCENARIOS.values()]
    for home in homes.values():
        for study in studies:
            home.approve(study)
        home.ledger.set_limit(None, 0.0, admin="A. Tester", reason="test", now=datetime.now(UTC))
    with federated(folder) as stand:
        join_all(stand, homes)
        decide(stand, homes.values(), *studies)
        with agents(homes.values(), worker=injected_worker(SEED)):
            grid = stand.grid()
            yield Deployed(stand, grid)
            grid.finish(completed=True)


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] if mode == "noisy in private" else []) for mode in MODES]
)
def test_a_deployed_study_gives_the_model_of_its_simulation(
    mode: str, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        inject(SEED, patch.setattr)
        simulate(new_request(SCENARIOS[mode], device="cpu"), tmp_path)
    found = deployed.model(mode)
    assert found == model_hash(tmp_path)
    with monkeypatch.context() as patch:
        inject(ANOTHER, patch.setattr)
        assert found != model_hash(once_more(mode, tmp_path)), "the control: it does depend on the randomness"


def once_more(mode: str, run: Path) -> Path:
    """Let the hospitals of a simulation train once more; the new run's folder."""
    study = SCENARIOS[mode].study
    grid = InProcessGrid({site: run / "hospitals" / site for site in study.site_ids})
    return coordinate(grid, RunPlan(study=study, run="again", out=run / "again", roster=consortium_roster(run)))


def coordinate(grid: Grid, plan: RunPlan) -> Path:
    """Carry a study run out, as every coordinator does; its folder."""
    plan.out.mkdir(parents=True)
    path = plan.out / "plan.json"
    path.write_text(plan.model_dump_json(by_alias=True))
    coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(path)}))
    return plan.out


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = hospitals(tmp_path_factory.mktemp("alone"), SCENARIOS["noisy in the open"])["north"]
    home.ledger.set_limit(None, 0.0, admin="A. Tester", reason="test", now=datetime.now(UTC))
    return home


def noisy_update(worker: Worker, run: str) -> bytes:
    """What a worker answers in the first round of a run."""
    study = SCENARIOS["noisy in the open"].study
    layout = worker.layout(study.id)
    fields = {"study": study.id, "run": run, "seed": 0}
    ready, _ = worker.ask(Question("query.prepare", 1, fields))
    assert ready.reason is None
    vector = VectorForm("float32", (layout.size,), RAW_FLOAT32)
    question = Question("train.noisy", 1, fields | {"layout": layout.hash, "round": 1}, vector)
    reply, update = worker.ask(question, np.zeros(layout.size, dtype="<f4").tobytes())
    assert reply.reason is None
    return bytes(update)


def test_nothing_in_its_surroundings_gives_the_production_worker_another_source(
    hospital: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own ways to run something first are closed to it, and the noise of two runs differs."""
    (tmp_path / "sitecustomize.py").write_text(f"from fakes.injected_randomness import inject; inject({SEED})\n")
    places = os.pathsep.join((str(tmp_path), str(TESTS)))
    surroundings = {"PYTHONPATH": places, "PYTHONSTARTUP": str(tmp_path / "sitecustomize.py"), "PYTHONHASHSEED": "0"}
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    found: dict[str, list[bytes]] = {}
    for name, command in {"production": WORKER, "injected": injected_worker(SEED)}.items():
        worker = Worker(hospital.path, command=command)
        try:
            found[name] = [noisy_update(worker, f"{name}-{number}") for number in range(2)]
        finally:
            worker.stop()
    assert found["production"][0] != found["production"][1]
    assert found["injected"][0] == found["injected"][1], "the control: only the randomness differed"
