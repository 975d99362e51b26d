"""What a report says of a promise to patients: claim, cost, warnings, what was not sent, what attacks found."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from fakes.promised_report import build_promised, leakage_of, promised_study

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.leakage.results import FILE
from wardround.simulations.report.answer import answer
from wardround.simulations.report.load import load_run
from wardround.simulations.report.page import page
from wardround.simulations.report.promise import privacy_section
from wardround.simulations.report.sourced import plain
from wardround.simulations.report.write import draw_figures, write_report

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study


@pytest.fixture(scope="module")
def promised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_promised(tmp_path_factory.mktemp("runs") / "promised")


def cells(run: Path) -> list[dict[str, str]]:
    """The table of the section: heading -> text, a row each."""
    table = privacy_section(load_run(run)).spent
    assert table is not None
    return [{name: plain(cell.main) for name, cell in zip(table.header, row, strict=True)} for row in table.rows]


def test_the_answer_names_the_promise(promised: Path) -> None:
    loaded = load_run(promised)
    text = answer(loaded.results, loaded.study).text()
    assert "What are patients promised? Every model of this run was trained under patient-level" in text
    assert "epsilon 8.00 at delta 1e-05" in text


def test_the_answer_names_what_was_spent_where_that_is_more(promised: Path) -> None:
    loaded = load_run(promised)
    rows = loaded.results.privacy
    dear = [rows[0].model_copy(update={"spent_epsilon": 8.118}), *rows[1:]]
    text = answer(loaded.results.model_copy(update={"privacy": dear}), loaded.study).text()
    assert "epsilon 8.12 at north, more than the 8.00 promised, because" in text
    assert "more than the" not in answer(loaded.results, loaded.study).text()


def test_promised_and_spent_stand_side_by_side(promised: Path) -> None:
    rows = cells(promised)
    assert [row["Hospital"] for row in rows] == ["north", "south", "lake"]
    for row in rows:
        assert (row["Promised epsilon"], row["Delta"], row["Steps"], row["Rounds"]) == ("8.00", "1e-05", "12", "12")
        assert 7.9 < float(row["Spent"]) <= 8
        assert float(row["Of a ledger's limit"]) > float(row["Spent"])
    assert "All runs" not in rows[0]
    assert "Validation patients" not in rows[0]


def test_several_runs_and_paid_validation_have_their_columns(tmp_path: Path) -> None:
    study = promised_study(validation={"epsilon": 2.0, "times": 3})
    run = build_promised(tmp_path / "run", study, seeds=3)
    row = cells(run)[0]
    assert float(row["All runs"]) > float(row["Spent"])
    assert row["Validation patients"] == "1.50"


def test_main_points_of_the_statement_are_in_the_page(promised: Path) -> None:
    html = page(load_run(promised), [])
    statement = json.loads((promised / "privacy.json").read_text(encoding="utf-8"))
    assert "This run used no differential privacy" not in html
    text = re.sub(r"<[^>]*>", "", html).replace("&#39;", "'")
    for words in (*statement["summary"], *(a["question"] for c in statement["chapters"] for a in c["answers"])):
        assert words in text


def test_losses_that_were_not_sent_are_not_drawn(promised: Path) -> None:
    loaded = load_run(promised)
    names = {picture.name for picture in draw_figures(loaded)}
    assert "rounds" not in names
    told = [plain(sentence) for sentence in privacy_section(loaded).losses]
    assert len(told) == 2
    assert all("not sent: not paid for" in words for words in told)
    html = write_report(promised).read_text(encoding="utf-8")
    evidence = html[html.index('id="evidence"') : html.index('id="comparisons"')]
    assert "How training went" in evidence
    assert "training loss" in evidence


def test_losses_that_were_paid_for_are_drawn(tmp_path: Path) -> None:
    run = build_promised(tmp_path / "run", promised_study(validation={"epsilon": 2.0, "times": 3}))
    pictures = {picture.name: picture for picture in draw_figures(load_run(run))}
    assert "one sum of their losses" in pictures["rounds"].caption


def test_equal_work_is_steps(promised: Path) -> None:
    html = page(load_run(promised), [])
    assert "Every model took the same number of steps" in html
    assert "the same number of training images" not in html
    assert "Under a promise to patients no hospital tells how many images" in html


@pytest.mark.parametrize(("epsilon", "weak"), [(8.0, False), (20.0, True)])
def test_a_weak_promise_is_a_warning_of_the_page(epsilon: float, weak: bool, tmp_path: Path) -> None:  # noqa: FBT001
    html = page(load_run(build_promised(tmp_path / "run", promised_study(epsilon=epsilon))), [])
    warnings = html[html.index("<h3>Warnings</h3>") : html.index('id="table"')]
    assert ("the promise is a weak one" in warnings) == weak


def test_no_noise_is_no_promise(tmp_path: Path) -> None:
    run = build_promised(tmp_path / "run", promised_study(trust="local", epsilon="infinite"), attacked=False)
    loaded = load_run(run)
    assert {row["Promised epsilon"] for row in cells(run)} == {"unlimited"}
    assert {row["Spent"] for row in cells(run)} == {"unlimited"}
    assert "no noise was added. Epsilon is unlimited" in answer(loaded.results, loaded.study).text()


def attacks(run: Path, study: Study, *, passed: bool) -> list[str]:
    (run / FILE).write_text(leakage_of(study, passed=passed).model_dump_json(), encoding="utf-8")
    return [plain(sentence) for sentence in privacy_section(load_run(run)).attacks]


def test_attacks_stand_beside_the_claim(tmp_path: Path) -> None:
    study = promised_study()
    run = build_promised(tmp_path / "run", study)
    first, *cases = attacks(run, study, passed=True)
    assert "at least 2.60; the promise is 8.00. The attacks passed." in first
    assert all("within the promise" in words for words in cases)
    assert "recognised 61 of 1000" in cases[0]
    first, *cases = attacks(run, study, passed=False)
    assert "did not pass" in first
    assert "beyond the promise" in cases[1]


def test_without_attacks_nothing_is_said_of_them(tmp_path: Path) -> None:
    run = build_promised(tmp_path / "run", attacked=False)
    assert privacy_section(load_run(run)).attacks == ()
    assert "What attacks found" not in page(load_run(run), [])


@pytest.mark.parametrize(("name", "code"), [("privacy.json", "WR-1551"), (FILE, "WR-1502")])
def test_a_damaged_statement_or_finding_is_refused(name: str, code: str, tmp_path: Path) -> None:
    run = build_promised(tmp_path / "run")
    load_run(run)
    (run / name).write_text('{"schema": 1}', encoding="utf-8")
    with pytest.raises(WardroundError, match=code):
        load_run(run)
