"""An attack suite as a table for a terminal."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wardround.simulations.attacks.results import AttackReport, CaseResult


def show_attack(report: AttackReport) -> None:
    """One line an attack, all sizes together; then what the controls got, what does not hold, what was left out."""
    console = Console()
    by_case = [(case, list(found)) for case, found in groupby(report.cases, key=lambda result: result.case)]
    table = Table(title=f"{report.attack}: refused, and carried out without the rules that refuse it", box=SIMPLE)
    for name in ("attack", "n", "refused", "holds"):
        table.add_column(name, no_wrap=True)
    for case, results in by_case:
        table.add_row(
            case,
            " ".join(str(result.n) for result in results),
            " ".join(dict.fromkeys(result.reason or "harmless" for result in results)),
            "yes" if all(result.holds for result in results) else "NO",
        )
    console.print(table)
    for line in (*_gains(by_case), *_complaints(report), *(f"Not carried out: {line}" for line in report.senseless)):
        console.print(line, highlight=False)
    held = sum(result.holds for result in report.cases)
    console.print(f"{held} of {len(report.cases)} hold. Transcripts: {report.folder}", highlight=False)


def _gains(by_case: list[tuple[str, list[CaseResult]]]) -> list[str]:
    """What the controls got: first what most of them got, then the others one by one."""
    gains = [(case, result.gain) for case, results in by_case for result in results if result.gain]
    if not gains:
        return []
    usual, _ = Counter(gain for _, gain in gains).most_common(1)[0]
    cases = {case for case, gain in gains if gain == usual}
    rest = dict.fromkeys((case, gain) for case, gain in gains if gain != usual)
    return [
        f"Without their rules {len(cases)} of {len(by_case)} get {usual}" + ("; the others:" if rest else "."),
        *(f"  {case}: {gain}" for case, gain in rest),
    ]


def _complaints(report: AttackReport) -> list[str]:
    return [_complaint(result) for result in report.cases if not result.holds]


def _complaint(result: CaseResult) -> str:
    parts = [
        "" if result.refused else f"not refused as expected ({result.reason or 'no refusal'}) {result.words}",
        "" if result.control_succeeds else "the control does not succeed, or does without more rules than it needs to",
        "" if result.replays else "a transcript does not replay",
    ]
    return f"{result.case} at n = {result.n}: {'; '.join(part for part in parts if part)}: {result.transcript}"
