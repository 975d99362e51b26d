"""The numbers of the handbook's page are those that the program computes."""

from __future__ import annotations

import re
import shlex
import tomllib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from fakes.scenarios import chest_fields

from wardround.client.statement import attacker
from wardround.client.statement.caution import promise_warnings
from wardround.client.statement.question import share
from wardround.client.statement.summary import strength
from wardround.common.privacy.calibration import multiplier_for
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.scenario import build_scenario, load_scenario

if TYPE_CHECKING:
    from pathlib import Path

STEPS, DELTA = 30, 1e-5


@pytest.fixture
def page(root: Path) -> str:
    return (root / "deploy" / "docs" / "privacy.md").read_text(encoding="utf-8")


def test_the_table_of_attackers_is_what_the_program_computes(page: str) -> None:
    rows = re.findall(r"^\| (\d+) \| (\S+) \| (\S+) \| (\S+) \| (\w+) \|$", page, flags=re.MULTILINE)
    assert [int(row[0]) for row in rows] == [1, 2, 4, 8, 16]
    for text, sure, alone, by_noise, called in rows:
        epsilon = float(text)
        step = SampledGaussian(1.0, multiplier_for(1.0, STEPS, epsilon, DELTA))
        assert sure == share(attacker.posterior(0.5, epsilon))
        assert alone == share(attacker.power(0.01, epsilon, DELTA))
        assert by_noise == share(attacker.power_of_steps(0.01, step, STEPS))
        assert f"is called {called}" in strength(epsilon)


def settings_of(page: str) -> tuple[str, list[str]]:
    """Scenario and ``--set`` of the page's example that needs no data."""
    commands = re.findall(r"^wardround simulate phantom-cxr (?:.*\\\n)*.*$", page, flags=re.MULTILINE)
    (words,) = [shlex.split(command) for command in commands]
    return words[2], [after for word, after in pairwise(words) if word == "--set"]


def test_the_example_of_the_page_needs_no_data_and_is_not_hopeless(page: str) -> None:
    name, settings = settings_of(page)
    scenario = load_scenario(name, settings)
    assert scenario.simulation.source is None
    assert scenario.study.distributed
    assert promise_warnings(scenario.study) == []
    hopeless = [setting for setting in settings if not setting.startswith("model.name")]
    assert "next to nothing" in promise_warnings(load_scenario(name, hopeless).study)[0]


def test_the_example_of_the_page_runs(page: str, tmp_path: Path) -> None:
    name, settings = settings_of(page)
    request = new_request(load_scenario(name, [*settings, "training.rounds=1"]), device="cpu")
    results = simulate(request, tmp_path / "run")
    assert {row.epsilon for row in results.privacy} == {8}
    assert all(row.spent_epsilon for row in results.privacy)
    assert results.warnings == []


def test_the_study_of_the_page_is_one(page: str) -> None:
    fields: dict[str, Any] = chest_fields()
    for block in re.findall(r"^```toml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        for name, section in tomllib.loads(block).items():
            fields[name] = fields.get(name, {}) | section
    study = build_scenario(fields).study
    assert study.distributed
    assert study.promise.validation is not None
