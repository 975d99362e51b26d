"""``wardround attack leakage`` as a process, and attacks on whole runs of a study with a promise."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.promised_runs import promised_scenario
from typer.testing import CliRunner

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.leakage.command import Wanted, run_leakage
from wardround.simulations.attacks.leakage.images import Population, drawn_images, pick
from wardround.simulations.attacks.leakage.inversion import invert_network
from wardround.simulations.attacks.leakage.results import read_leakage
from wardround.simulations.attacks.leakage.runs import Runs
from wardround.simulations.attacks.leakage.suite import Suite, attack_leakage
from wardround.simulations.attacks.leakage.toys import toy_study, without_noise
from wardround.simulations.cli import app
from wardround.simulations.experiment import new_request, simulate

if TYPE_CHECKING:
    from pathlib import Path

CASES = ["canaries", "membership-linear", "inversion-linear", "crafted-module"]


def attack(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from wardround.simulations.cli import main; main()", "attack", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_passes_with_the_noise_and_fails_without_it(tmp_path: Path) -> None:
    """False alarms: four attacks at 1e-6 each."""
    done = attack(tmp_path, "leakage", "--quick", "--json", "--out", "there")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["attack"], found["passed"], found["claimed_epsilon"]) == ("leakage", True, 3.0)
    assert 0 < found["empirical_epsilon"] <= 3.0
    assert [case["case"] for case in found["cases"]] == CASES
    for case in found["cases"]:
        assert {"case", "n", "refused", "reason", "control_succeeds", "transcript"} <= case.keys()
        assert case["refused"] is case["control_succeeds"] is True
        written = json.loads((tmp_path / case["transcript"]).read_bytes())
        assert {"attacked", "control"} <= written.keys()
    done = attack(tmp_path, "leakage", "--quick", "--json", "--without-privacy")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["passed"], found["claimed_epsilon"]) == (False, 3.0)
    assert [case["refused"] for case in found["cases"]] == [False] * 4
    assert found["empirical_epsilon"] > 3.0


def test_a_study_that_promises_nothing_never_passes(tmp_path: Path) -> None:
    without = promised_scenario(rounds=4, trust="local", epsilon="infinite").study
    report = attack_leakage(Suite(study=without, seeds=2, quick=True), tmp_path)
    assert (report.claimed_epsilon, report.judged_by, report.passed) == (None, 8.0, False)
    assert [case.refused for case in report.cases] == [False] * 4


@pytest.mark.parametrize(("target", "code"), [("phantom-cxr", "WR-1809"), ("nothing", "WR-1004"), (".", "WR-1502")])
def test_what_cannot_be_attacked(tmp_path: Path, target: str, code: str) -> None:
    with pytest.raises(WardroundError) as refused:
        run_leakage(Wanted(target), tmp_path / "out", lambda _done, _all: None)
    assert refused.value.code == code


def test_options_of_the_other_suite_are_wrong_usage(tmp_path: Path) -> None:
    for arguments in (("secagg", "--quick"), ("leakage", "--sites", "5")):
        assert CliRunner().invoke(app, ["attack", *arguments, "--out", str(tmp_path)]).exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_models_of_whole_runs_are_attacked(trust: str, tmp_path: Path) -> None:
    scenario = promised_scenario(rounds=1, trust=trust, epsilon=3.0)
    runs = replace(Runs.open(scenario, None, tmp_path, device="cpu", workers=1, finished=None), references=2)
    for study, first in ((scenario.study, 0), (without_noise(scenario.study), 1000)):
        finding = runs.attack(study)
        assert 20 < finding.n <= 54
        assert 0.2 < np.mean(finding.record["present"]) < 0.8
        assert np.isfinite(finding.record["scores"]).all()
        assert (tmp_path / "jobs" / f"federated.seed{first + 2}" / "model").is_dir()
    assert runs.images().shape == (54, 32, 32)


def test_a_finished_run_keeps_what_attacks_on_it_found(tmp_path: Path) -> None:
    scenario = promised_scenario(rounds=1, trust="local", epsilon=3.0)
    request = new_request(scenario, device="cpu")
    simulate(request, tmp_path / "run")
    report = run_leakage(Wanted(str(tmp_path / "run"), seeds=2, quick=True), tmp_path / "out", lambda _done, _all: None)
    assert report.study == scenario.study.name
    assert read_leakage(tmp_path / "run") == report
    runs = Runs.open(scenario, None, tmp_path / "more", device="cpu", workers=1, finished=tmp_path / "run")
    finding = replace(runs, references=1).attack(scenario.study)
    assert not (tmp_path / "more" / "jobs" / "federated.seed0").exists(), "the finished run was the target"
    trained = np.mean(finding.record["present"])
    assert trained > 0
    without = replace(runs, references=1).attack(without_noise(scenario.study))
    assert (tmp_path / "more" / "jobs" / "federated.seed1000").exists(), "the control has a target of its own"
    assert without.n > 0


@pytest.mark.slow
def test_images_are_found_through_a_network_of_the_catalogue_only_without_noise() -> None:
    """False alarms: the noise lets each victim be named with a probability of 0.01 at most, all four in 10^-8."""
    population, toy = Population.of(drawn_images(1100, 0)), toy_study()
    bare = without_noise(toy)
    control = pick(population, lambda victim: invert_network(bare, population, victim), range(4))
    assert control.right >= 3
    assert np.median(control.similarity) > 0.75
    noisy = pick(population, lambda victim: invert_network(toy, population, victim), range(4))
    assert noisy.right < 4
