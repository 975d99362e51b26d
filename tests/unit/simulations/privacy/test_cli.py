"""``wardround privacy``: the statement of a study file, and what is refused before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import tomli_w
from fakes.scenarios import chest_fields
from typer.testing import CliRunner

from wardround.common.errors import WardroundError
from wardround.simulations.cli import app

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

PROMISE = {"trust": "distributed", "epsilon": 8, "patients": 40, "rate": 0.5}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    fields = chest_fields() | {"privacy": PROMISE, "aggregation": {"mode": "private", "weights": "equal"}}
    path = tmp_path / "scenario.toml"
    path.write_text(tomli_w.dumps(fields | {"selection": {"rule": "last"}}), encoding="utf-8")
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["privacy", *words], catch_exceptions=True)


def refused(result: Result) -> str:
    assert isinstance(result.exception, WardroundError)
    return result.exception.code


def test_statement_is_printed_as_a_page_and_as_json(scenario: Path) -> None:
    page = run("statement", str(scenario))
    assert page.exit_code == 0
    assert "is promised epsilon 8 at delta 1e-05" in page.output
    found = json.loads(run("statement", str(scenario), "--json").output)
    assert found["promised"]
    assert found["study"].startswith("sha256:")


def test_settings_change_the_statement(scenario: Path) -> None:
    page = run("statement", str(scenario), "--set", "privacy.epsilon=2", "--set", "privacy.rate=1.0")
    assert "is promised epsilon 2 at" in page.output
    assert "every patient takes part in every step" in page.output


def test_a_study_without_virtual_hospitals_has_a_statement(tmp_path: Path) -> None:
    fields = chest_fields()
    del fields["simulation"]
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps(fields), encoding="utf-8")
    assert "epsilon is unlimited" in run("statement", str(path)).output


def test_help_names_the_table_that_the_reference_lacks() -> None:
    shown = run("curve", "--help").output
    assert "--reference" in shown
    assert "[privacy]" in shown


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--epsilon", "1,0"), "WR-1817"),
        (("--epsilon", "1,1"), "WR-1817"),
        (("--trust", "central"), "WR-1817"),
        (("--reference", "phantom-cxr"), "WR-1817"),
        (("--reference", "no-such-scenario"), "WR-1004"),
        (("--epsilon", "0.0001", "--set", "training.rounds=5000"), "WR-1801"),
    ],
)
def test_a_curve_that_cannot_be_is_refused_at_once(
    options: tuple[str, ...], code: str, scenario: Path, tmp_path: Path
) -> None:
    out = tmp_path / "curve"
    assert refused(run("curve", str(scenario), "--out", str(out), *options)) == code
    assert not out.exists()
