"""Attacks on a promise as a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wardround.simulations.attacks.leakage.results import LeakageReport


def show_leakage(report: LeakageReport) -> None:
    """One line an attack, then how far each got with and without noise, then the two epsilons."""
    console = Console()
    title = f"leakage: attacks on the promise of {report.study}, and the same without its noise"
    table = Table(title=title, box=SIMPLE)
    for name in ("attack", "n", "epsilon ≥", "within the claim", "control succeeds"):
        table.add_column(name, no_wrap=True)
    for case in report.cases:
        within, control = ("yes" if holds else "NO" for holds in (case.refused, case.control_succeeds))
        table.add_row(case.case, str(case.n), f"{case.epsilon:.2f}", within, control)
    console.print(table)
    for case in report.cases:
        console.print(f"{case.case}: {case.reason}\n  without noise: {case.control}", highlight=False)
    for line in _summary(report):
        console.print(line, highlight=False)


def _summary(report: LeakageReport) -> list[str]:
    claim = "nothing" if report.claimed_epsilon is None else f"epsilon {report.claimed_epsilon:g}"
    lines = [
        f"Claimed: {claim} at delta {report.delta:g} ({report.trust}).",
        f"Shown by the attacks: epsilon {report.empirical_epsilon:.2f} at least.",
        f"Whatever the noise is like: {report.any_epsilon:.2f} at least.",
    ]
    if report.claimed_epsilon is None:
        lines.append(f"Judged as if epsilon {report.judged_by:g} had been promised; without a promise none passes.")
    return [*lines, f"{'Passed' if report.passed else 'FAILED'}. Transcripts: {report.folder}"]
