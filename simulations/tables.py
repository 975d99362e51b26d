"""Results as tables for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from wardround.common.errors import WardroundError
from wardround.simulations.ending import ending
from wardround.simulations.report.answer import answer
from wardround.simulations.report.names import TESTS, metric_name
from wardround.simulations.report.sourced import plain
from wardround.simulations.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.results import Metric

MAIN = {"classification": "auroc", "segmentation": "dice"}
"""The metric by which arms are compared."""


def main_metrics(results: Results) -> dict[tuple[str, str], Metric]:
    """The main metric of every arm and test site, pooled over seeds and folds."""
    wanted = MAIN[results.study.task]
    rows = [row for row in results.metrics if row.metric == wanted and row.seed is None and row.fold is None]
    found = {(row.arm, row.test_site): row for row in rows if row.label != "mean"}
    return found | {(row.arm, row.test_site): row for row in rows if row.label == "mean"}


def show_run(results: Results, study: Study, folder: Path) -> None:
    """:func:`show_gain`, then the promise to patients and the warnings of the run in ``folder``."""
    show_gain(results, study)
    for line in ending(results, folder):
        Console(soft_wrap=True).print(line, markup=False, highlight=False)


def show_gain(results: Results, study: Study) -> None:
    """Arms by sites in the main metric, then what federation gained, in numbers and words; 80 columns suffice."""
    found = main_metrics(results)
    sites = [site for site in dict.fromkeys(site for _, site in found) if site != "spread"]
    table = Table(
        title=f"{results.study.name}: {metric_name(MAIN[results.study.task])} on the test patients of", box=SIMPLE
    )
    table.add_column("trained on", overflow="fold")
    for site in sites:
        table.add_column(site, justify="right", no_wrap=True, min_width=max(5, len(site)))
    for arm in results.arms:
        table.add_row(arm, *(_value(found.get((arm, site))) for site in sites))
    Console().print(table)
    _show_differences(results)
    for sentence in answer(results, study).verdict:
        Console().print(plain(sentence), markup=False, highlight=False)


def _show_differences(results: Results) -> None:
    table = Table(title="Federated minus each hospital's own model, on its own test patients", box=SIMPLE)
    for name in ("hospital", "difference", "95% interval", "test", "p (Holm)"):
        table.add_column(name, justify="left" if name in ("hospital", "test") else "right", no_wrap=name != "p (Holm)")
    for test in results.tests:
        if test.a == "federated" and test.b == f"local/{test.test_site}":
            ends = "" if test.ci95 is None else f"{test.ci95[0]:+.3f} to {test.ci95[1]:+.3f}"
            p = "–" if test.p_holm is None else f"{test.p_holm:.3f}" if test.p_holm >= 0.001 else "<0.001"
            gain = "undefined" if test.difference is None else f"{test.difference:+.3f}"
            table.add_row(test.test_site, gain, ends, TESTS.get(test.test, test.test), p)
    if table.row_count:
        Console().print(table)


def show_metrics(results: Results) -> None:
    """Every pooled metric of a scored model."""
    table = Table(title=f"{results.study.name}: {', '.join(results.data)}")
    for name in ("label", "metric", "value (95% interval)", "patients"):
        table.add_column(name, justify="right" if name == "patients" else "left")
    for row in results.metrics:
        if row.seed is None and row.fold is None:
            table.add_row(row.label, row.metric, _cell(row), str(row.patients))
    Console().print(table)


def comparison(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """The main metric of every arm and site in several runs.

    Raises:
        WardroundError: WR-1502, a folder holds no finished run, or the runs have different tasks.
    """
    loaded = [read_results(run) for run in runs]
    if len({results.study.task for results in loaded}) != 1:
        raise WardroundError("WR-1502", "The runs have different tasks and share no metric.")
    keys = dict.fromkeys(key for results in loaded for key in main_metrics(results))
    return [
        {
            "arm": arm,
            "test_site": site,
            "metric": MAIN[loaded[0].study.task],
            "values": [_plain(main_metrics(results).get((arm, site))) for results in loaded],
        }
        for arm, site in keys
    ]


def differing_studies(runs: Sequence[Path]) -> str | None:
    """One line about runs of different studies, whose values are not of one question; None: all are of one study.

    Raises:
        WardroundError: WR-1502, as for :func:`comparison`.
    """
    studies = [read_results(run).study for run in runs]
    if len({study.id for study in studies}) == 1:
        return None
    if len({study.name for study in studies}) == 1:
        start = f"These runs are of the study {studies[0].name} with different settings"
    else:
        named = ", ".join(f"{run.name}: {study.name}" for run, study in zip(runs, studies, strict=True))
        start = f"These runs are of different studies ({named})"
    return f"{start}: what differs between the columns may come from that."


def show_comparison(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """The rows of :func:`comparison` as a table."""
    table = Table(title=f"{rows[0]['metric']} by run" if rows else "no common results")
    table.add_column("trained")
    table.add_column("tested on")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        cells = ["–" if item is None or item["value"] is None else f"{item['value']:.3f}" for item in row["values"]]
        table.add_row(row["arm"], row["test_site"], *cells)
    Console().print(table)


def read_results(run: Path) -> Results:
    """``results.json`` of a finished run.

    Raises:
        WardroundError: WR-1502, there is none, or it is damaged.
    """
    try:
        return Results.model_validate(json.loads((run / "results.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise WardroundError("WR-1502", f"{run.name} holds no finished run ({type(error).__name__}).") from error


def _plain(row: Metric | None) -> dict[str, Any] | None:
    return None if row is None else {"value": row.value, "ci95": row.ci95, "reason": row.reason}


def _value(row: Metric | None) -> str:
    return "–" if row is None or row.value is None else f"{row.value:.3f}"


def _cell(row: Metric | None) -> str:
    if row is None:
        return "–"
    if row.value is None:
        return "undefined"
    return f"{row.value:.3f}" + ("" if row.ci95 is None else f" ({row.ci95[0]:.3f}–{row.ci95[1]:.3f})")
