"""What a run says that its promise cost is what the hospitals' ledgers say, also where it was interrupted."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from fakes.promised_runs import promised_scenario

from wardround.client.statement.statement import Statement
from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.server.open_records import FOLDER as OPEN
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.job import DONE
from wardround.simulations.progress import QuietProgress

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.grid import Handled
    from wardround.simulations.run_folder import RunRequest


def request_of(seeds: int = 1, **promise: Any) -> RunRequest:
    scenario = promised_scenario(3, **({"rounds": 3, "epsilon": 4.0, "rate": 0.5, "patients": 40} | promise))
    return new_request(scenario, seeds=seeds, device="cpu")


class Interrupted(QuietProgress):
    """Stops the run when a round's training has been answered so many times."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    def handled(self, run: str, handled: Handled) -> None:  # noqa: ARG002 - as Progress has it
        self._left -= handled.group == "2"
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_rows_are_what_the_ledgers_hold(trust: str, tmp_path: Path) -> None:
    request = request_of(seeds=2, trust=trust, validation={"epsilon": 2.0, "times": 2})
    results = simulate(request, tmp_path / "run")
    step = request.study.promise.step
    assert [row.site for row in results.privacy] == ["site0", "site1", "site2"]
    for row in results.privacy:
        assert (row.unit, row.relation, row.trust, row.epsilon, row.delta) == ("patient", "add/remove", trust, 4, 1e-5)
        assert (row.steps, row.spent_steps, row.spent_rounds, row.runs) == (3, 3, 3, 2)
        assert row.spent_epsilon == pytest.approx(pld.epsilon(step, 3, 1e-5))
        assert row.all_runs_epsilon == pytest.approx(pld.epsilon(SampledGaussian(0.5, step.multiplier), 6, 1e-5))
        assert (row.filter_epsilon or 0) > (row.spent_epsilon or 0)
        assert row.validation_epsilon == 2
        assert 1.9 < (row.validation_spent_epsilon or 0) <= 2
        assert [entry.what for entry in row.not_sent][:2] == ["training loss", "validation metrics"]
    assert results.warnings == []
    stated = Statement.model_validate_json((tmp_path / "run" / "privacy.json").read_bytes())
    assert any(answer.id == "spent" for chapter in stated.chapters for answer in chapter.answers)
    assert "Every model of this run was trained" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_without_a_promise_nothing_is_said(tmp_path: Path) -> None:
    scenario = promised_scenario(3, rounds=1)
    plain = type(scenario)(scenario.study.model_copy(update={"privacy": None}), scenario.simulation)
    fields = plain.study.model_dump(by_alias=True) | {"aggregation": {"mode": "open"}}
    study = type(plain.study).model_validate(fields)
    results = simulate(new_request(type(plain)(study, plain.simulation), device="cpu"), tmp_path / "run")
    assert {(row.epsilon, row.trust, row.spent_steps) for row in results.privacy} == {(None, None, None)}
    assert not (tmp_path / "run" / "privacy.json").exists()


def test_an_interrupted_run_goes_on_and_is_charged_once(tmp_path: Path) -> None:
    """Interrupted in round 2, when every site has paid for it: nothing is paid for twice."""
    request = request_of(trust="local")
    with pytest.raises(KeyboardInterrupt):
        simulate(request, tmp_path / "run", progress=Interrupted(3))
    results = simulate(request, tmp_path / "run")
    for row in results.privacy:
        assert (row.spent_steps, row.spent_rounds) == (3, 3)
        assert (row.spent_epsilon or 0) <= 4
    assert results.warnings == []
    assert not list((tmp_path / "run" / "hospitals").glob("*/runs/*/newest.round")), "erased with the end of the run"


def test_what_is_trained_again_is_charged_and_told(tmp_path: Path) -> None:
    """Coordinator and hospitals lost what they kept: the run begins anew, and rounds 1 and 2 are paid for twice."""
    request = request_of(trust="local")
    with pytest.raises(KeyboardInterrupt):
        simulate(request, tmp_path / "run", progress=Interrupted(3))
    shutil.rmtree(tmp_path / "run" / "jobs" / "federated.seed0" / OPEN)
    for kept in (tmp_path / "run" / "hospitals").glob("*/runs/*/newest.round"):
        kept.unlink()
    results = simulate(request, tmp_path / "run")
    for row in results.privacy:
        assert row.spent_steps == 5
        assert (row.spent_epsilon or 0) > 4
    assert sum("rounds were computed more than once" in words for words in results.warnings) == 3
    stated = Statement.model_validate_json((tmp_path / "run" / "privacy.json").read_bytes())
    most = max(row.spent_epsilon or 0 for row in results.privacy)
    assert any(a.facts.get("epsilon_that_holds") == most for chapter in stated.chapters for a in chapter.answers)
    for page in ("privacy.md", "report.html"):
        assert "more than the 4 promised" in (tmp_path / "run" / page).read_text(encoding="utf-8")


def test_what_is_only_scored_again_is_not_charged(tmp_path: Path) -> None:
    request = request_of(trust="local")
    first = simulate(request, tmp_path / "run")
    done = tmp_path / "run" / "jobs" / "federated.seed0" / DONE
    plan = json.loads(done.read_text(encoding="utf-8"))
    done.unlink()
    again = simulate(request, tmp_path / "run")
    assert json.loads(done.read_text(encoding="utf-8")) == plan
    assert again.privacy == first.privacy
    assert again.metrics == first.metrics
