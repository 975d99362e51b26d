"""An attack suite as a table for a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wardround.simulations.attacks.results import AttackReport, CaseResult


def show_attack(report: AttackReport) -> None:
    """One line an attack, all sizes together; then what does not hold, and what was not carried out."""
    console = Console()
    table = Table(title=f"{report.attack}: refused, and what gets through without the rules", box=SIMPLE)
    for name in ("attack", "n", "refused", "without the rules", "gains", "holds"):
        table.add_column(name)
    for case, found in groupby(report.cases, key=lambda result: result.case):
        results = list(found)
        table.add_row(
            case,
            ", ".join(str(result.n) for result in results),
            ", ".join(dict.fromkeys(result.reason or "no" for result in results)),
            " or ".join(dict.fromkeys(", ".join(result.checks) or "one more colludes" for result in results)),
            " or ".join(dict.fromkeys(result.gain or "nothing" for result in results)),
            "yes" if all(result.holds for result in results) else "no",
        )
    console.print(table)
    for result in report.cases:
        if not result.holds:
            console.print(_complaint(result), highlight=False)
    for line in report.senseless:
        console.print(f"Not carried out: {line}", highlight=False)
    held = sum(result.holds for result in report.cases)
    console.print(f"{held} of {len(report.cases)} hold.", highlight=False)


def _complaint(result: CaseResult) -> str:
    parts = [
        "" if result.refused else f"not refused as expected ({result.reason or 'no refusal'}) {result.words}",
        "" if result.control_succeeds else "the control does not succeed, or does without more rules than it needs to",
        "" if result.replays else "a transcript does not replay",
    ]
    return f"{result.case} at n = {result.n}: {'; '.join(part for part in parts if part)}: {result.transcript}"
