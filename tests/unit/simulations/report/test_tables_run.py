"""The tables about the run: what was sent, and whose parts are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wardround.simulations.report.load import load_run
from wardround.simulations.report.sourced import DASH, plain
from wardround.simulations.report.tables_run import data_table, work_table

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.report.load import RunFolder


def sent(run: RunFolder) -> dict[str, tuple[str, str]]:
    """Model -> bytes sent by hospitals and to hospitals, as shown."""
    table = work_table(run.lookup)
    assert table is not None
    return {plain(row[0].main): (plain(row[-2].main), plain(row[-1].main)) for row in table.rows}


def data_caption(run: RunFolder) -> str:
    table = data_table(run)
    assert table is not None
    return table.caption


def test_only_federations_send_bytes(classification_run: Path, left_out_run: Path) -> None:
    shown = sent(load_run(classification_run))
    assert set(shown) == {"Federated", "All data pooled", "north alone", "south alone", "lake alone"}
    assert DASH not in shown.pop("Federated")
    assert set(shown.values()) == {(DASH, DASH)}
    left_out = sent(load_run(left_out_run))
    assert DASH not in left_out["Federated without site1"]
    assert left_out["Pooled without site1"] == (DASH, DASH)


def test_parts_of_one_fold_are_called_so(classification_run: Path) -> None:
    run = load_run(classification_run)
    assert "first fold" not in data_caption(run)
    folds = replace(run, results=run.results.model_copy(update={"folds": 5}))
    assert "The parts are those of the first fold" in data_caption(folds)
