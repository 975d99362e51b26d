"""The tables about models: a value that is missing says why, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardround.simulations.report.load import load_run
from wardround.simulations.report.sourced import plain
from wardround.simulations.report.tables import detail_table, headline_table

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.report.tables import Table

KEPT = "kept at the hospital, in its own report"


def missing_cells(table: Table) -> list[tuple[str, str]]:
    cells = [cell for row in table.rows for cell in row[1:] if "no value" in plain(cell.main)]
    return [(plain(cell.main), plain(cell.note)) for cell in cells]


def test_a_value_that_is_missing_says_why(classification_run: Path) -> None:
    lookup = load_run(classification_run).lookup
    found = missing_cells(headline_table(lookup))
    assert ("no value:", "no negative images at this site") in found
    assert all((words == "no value:") == bool(note) for words, note in found)
    assert len([note for _, note in found if note]) == 1, "once in a column"


def test_metrics_that_nobody_gives_are_one_row_with_the_reason(classification_run: Path) -> None:
    run = load_run(classification_run)
    whole = detail_table(run.lookup)
    rows = [row.model_copy(update={"value": None, "ci95": None, "reason": KEPT}) for row in run.results.metrics]
    kept = replace(run, results=run.results.model_copy(update={"metrics": rows}))
    (row,) = detail_table(kept.lookup).rows
    assert len(whole.rows) > 1, "the control"
    assert all(plain(other[0].main) in plain(row[0].main) for other in whole.rows)
    assert {(plain(cell.main), plain(cell.note)) for cell in row[1:]} == {("no value:", KEPT)}
