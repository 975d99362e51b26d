"""Below the tables of a run: one line on the promise, and warnings that do not drown anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.promised_report import build_promised, promised_study
from fakes.run_folder import build_classification

from wardround.simulations.ending import MOST, ending
from wardround.simulations.tables import read_results, show_run
from wardround.simulations.warned import grouped, of_round

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.results import Results

LEFT_OUT = "left out north: WR-1807 privacy budget is not enough"


@pytest.fixture(scope="module")
def promised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_promised(tmp_path_factory.mktemp("runs") / "promised")


def changed(run: Path, **fields: object) -> Results:
    return read_results(run).model_copy(update=fields)


def test_rounds_and_seeds_with_the_same_words_are_one_line() -> None:
    many = [of_round("federated", seed, number, LEFT_OUT) for seed in (0, 1) for number in range(1, 41)]
    others = [of_round("federated", 2, number, LEFT_OUT) for number in (1, 2, 5)]
    assert grouped(["epsilon is weak", *many, "epsilon is weak", *others, of_round("local/north", 0, 1, "silent")]) == [
        "epsilon is weak",
        f"federated, seeds 0-1, rounds 1-40: {LEFT_OUT}",
        f"federated, seed 2, rounds 1-2, 5: {LEFT_OUT}",
        "local/north, seed 0, round 1: silent",
    ]


def test_the_promise_is_one_line_with_what_was_spent(promised: Path) -> None:
    (line,) = [line for line in ending(read_results(promised), promised) if line.startswith("Promise")]
    assert "epsilon 8 at delta 1e-05, trust model distributed; spent: epsilon " in line
    assert "more than" not in line
    assert line.endswith(f"Statement: {(promised / 'privacy.md').resolve()}")


def test_more_spent_than_promised_is_in_the_line(promised: Path) -> None:
    rows = read_results(promised).privacy
    dear = [rows[0], rows[1].model_copy(update={"spent_epsilon": 8.113}), *rows[2:]]
    line = ending(changed(promised, privacy=dear), promised)[0]
    assert "spent: epsilon 8.113 at south, more than the 8 promised, because rounds were computed more than" in line


def test_no_noise_is_no_promise(tmp_path: Path) -> None:
    run = build_promised(tmp_path / "run", promised_study(trust="local", epsilon="infinite"), attacked=False)
    assert "Promise to patients: none" in ending(read_results(run), run)[0]


def test_every_run_has_its_warnings_and_those_without_one_are_silent(tmp_path: Path) -> None:
    run = build_classification(tmp_path / "run")
    assert ending(changed(run, warnings=[]), run) == []
    warned = ending(changed(run, warnings=[f"warning {number}" for number in range(MOST + 3)]), run)
    assert warned[0] == "Warning: warning 0"
    assert len(warned) == MOST + 1
    assert warned[-1] == "and 3 more in results.json"


def test_the_terminal_shows_them_below_the_tables(promised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [of_round("federated", 0, number, f"{LEFT_OUT} [north]") for number in range(1, 13)]
    show_run(changed(promised, warnings=many), promised_study(), promised)
    shown = capsys.readouterr().out
    assert shown.index("on the test patients of") < shown.index("Promise to patients") < shown.index("Warning:")
    assert f"federated, seed 0, rounds 1-12: {LEFT_OUT} [north]\n" in shown
