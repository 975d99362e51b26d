"""A benchmark as a table for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wardround.simulations.bench.rows import BenchReport


def show_bench(report: BenchReport) -> None:
    """The rows, then the machine, the settings and the remarks; 80 columns suffice."""
    console = Console()
    peers = " and ".join(dict.fromkeys(row.peer_name for row in report.rows if "_vs_" not in row.quantity))
    table = Table(title=f"{report.bench}: wardround against {peers}", box=SIMPLE)
    for name in ("quantity", "ours", "peer", "ratio", "goal", "holds"):
        table.add_column(name, justify="right" if name in ("ours", "peer", "ratio") else "left", no_wrap=True)
    for row in report.rows:
        holds = {True: "yes", False: "no", None: "–"}[row.holds]
        table.add_row(
            row.quantity,
            _number(row.ours, row.unit),
            _number(row.peer, row.unit),
            _number(row.ratio, "x"),
            row.goal,
            holds,
        )
    console.print(table)
    for name, value in report.machine.items():
        if name != "remarks":
            console.print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}", highlight=False)
    for remark in report.machine.get("remarks", ()):
        console.print(remark, highlight=False)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}x" if unit == "x" else f"{value:.3g} {unit}"
