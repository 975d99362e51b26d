"""A federation of real processes: an open study gives a simulation's model, a private one ends in reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wardround.client.home import Home
from wardround.client.policy import Policy
from wardround.common.errors import WardroundError
from wardround.simulations.deployed.commands import PROGRAM
from wardround.simulations.deployed.demo import model_hash, run_demo, write_study
from wardround.simulations.deployed.federation import Budget, Federation
from wardround.simulations.deployed.processes import Processes
from wardround.simulations.deployed.usage import family
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.report.load import load_results
from wardround.simulations.scenario import load_scenario
from wardround.simulations.sites.materialise import materialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.simulations.deployed.demo import Shown
    from wardround.simulations.scenario import Scenario

pytestmark = pytest.mark.xdist_group("deployed")  # one demonstration for all of them

PATIENCE = 300.0
OPEN = ('simulation.arms=["federated"]', "training.rounds=2", "training.epochs=1", "evaluation.bootstrap=100")
PRIVATE = (
    *OPEN,
    "aggregation.mode=private",
    "aggregation.weights=equal",
    "selection.rule=last",
    "training.optimizer=sgd",
    "training.augmentation=[]",
    "model.name=scattering",
    'privacy={trust="distributed", epsilon=8.0, patients=120, rate=1.0, clip=1.0, images_per_patient=2}',
)


PATIENTS = 40
"""Of each hospital: enough for every part to have some."""


def _scenario(settings: tuple[str, ...]) -> Scenario:
    found = load_scenario("phantom-cxr", settings)
    sites = tuple(site.model_copy(update={"patients": PATIENTS}) for site in found.simulation.sites)
    return replace(found, simulation=found.simulation.model_copy(update={"sites": sites}))


def _quiet(*_: object) -> None:
    """Nobody is told."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "log") as found:
        yield found


def test_an_open_study_gives_the_model_of_its_simulation(tmp_path: Path, processes: Processes) -> None:
    scenario = _scenario(OPEN)
    simulate(new_request(scenario), tmp_path / "simulated")
    study, sources = scenario.study, materialise(scenario, None, tmp_path / "sites")
    federation = Federation(tmp_path, processes, _quiet)
    federation.found()
    federation.admit(study.site_ids)
    for site in study.site_ids:  # the same patient keys give the same training patients in the same order
        key = (tmp_path / "simulated" / "hospitals" / site / "patient.key").read_bytes()
        (federation.home(site) / "patient.key").write_bytes(key)
    budget = Budget(policy=Policy(modes=("open",), without_privacy=True, runs_per_study=2))
    federation.prepare({site: sources[site] for site in study.site_ids}, budget)
    federation.serve_hospitals(study.site_ids)
    federation.agree(study, write_study(study, tmp_path / "study.toml"), "a test")
    run = federation.start(study)
    assert federation.wait(run, PATIENCE).state == "completed"
    assert model_hash(federation.run_folder(run)) == model_hash(tmp_path / "simulated")

    other = federation.start(study, seed=1, again=True)  # the control: another seed gives another model
    federation.wait(other, PATIENCE)
    assert model_hash(federation.run_folder(other)) != model_hash(tmp_path / "simulated")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown, list[tuple[str, ...]]]:
    """The demonstration on phantoms, smaller."""
    out, commands = tmp_path_factory.mktemp("demo") / "run", list[tuple[str, ...]]()
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.delenv("WARDROUND_DATA", raising=False)
        return out, run_demo(_scenario(PRIVATE), None, out, commands.append, _quiet), commands


def test_the_demonstration_ends_in_a_report(shown: tuple[Path, Shown, list[tuple[str, ...]]]) -> None:
    _, found, _ = shown
    assert found.state == "completed"
    results = load_results(found.report)
    assert [row.round for row in results.rounds] == [1, 2]
    assert (results.seen_from, results.model and results.model.sha256) == ("coordinator", found.model)
    assert {row.value for row in results.metrics} == {None}
    assert results.absent[0] in (found.report / "report.html").read_text(encoding="utf-8")


def test_every_hospital_has_a_report_of_its_own(shown: tuple[Path, Shown, list[tuple[str, ...]]]) -> None:
    out, found, _ = shown
    assert list(found.own) == ["north", "coast", "valley"]
    for site, folder in found.own.items():
        assert folder.is_relative_to(out / "hospitals" / site)
        results = load_results(folder)
        assert (results.seen_from, results.arms) == ("hospital", ["federated", f"local/{site}"])
        assert results.model is not None
        assert results.model.sha256 == found.model
        (row,) = results.privacy
        assert row.spent_epsilon == pytest.approx(8, abs=0.01)


def test_policies_are_the_strict_defaults_and_people_decided(
    shown: tuple[Path, Shown, list[tuple[str, ...]]],
) -> None:
    out, found, commands = shown
    for site in found.own:
        assert Home(out / "hospitals" / site).policy == Policy()
    names = [words[:2] for words in commands]
    assert names.count(("hospital", "approve")) == names.count(("hospital", "join")) == 3
    assert sum(words[:3] == ("hospital", "roster", "accept") for words in commands) == 3


def test_nothing_of_it_runs_afterwards(shown: tuple[Path, Shown, list[tuple[str, ...]]]) -> None:
    out, _, _ = shown
    assert _working_on(out) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WardroundError) as refused:
        run_demo(_scenario(PRIVATE), None, tmp_path, _quiet, _quiet)
    assert refused.value.code == "WR-1501"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_its_processes_end_when_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    environment = {name: value for name, value in os.environ.items() if name != "WARDROUND_DATA"}
    demo = subprocess.Popen(
        ["env", "--default-signal=INT", *PROGRAM, "demo", "--deployed", "--out", str(out), "--json"],
        env=environment,  # and what a job in the background ignores, its children would ignore, too
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + PATIENCE
    try:
        while not (out / "coordinator" / "status.json").exists() and time.monotonic() < end:
            assert demo.poll() is None
            time.sleep(0.05)
        running = family(demo.pid)
        assert len(running) >= 3  # the demonstration, the coordinator, the SuperLink
        demo.send_signal(number)
        answer, _ = demo.communicate(timeout=PATIENCE)
    finally:
        demo.kill()
        demo.wait()
    while any(family(pid) for pid in running) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(family(pid) for pid in running)
    if number is not signal.SIGKILL:
        assert json.loads(answer)["error"]["code"] == "WR-1508"


def _working_on(folder: Path) -> list[int]:
    """Processes whose command line names a folder."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    lines = (line.split(maxsplit=1) for line in found.stdout.splitlines()[1:])
    return [int(pid) for pid, words in lines if str(folder) in words and "ps -eo" not in words]
