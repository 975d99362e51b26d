"""The ledger's accounts as ``wardround hospital ledger show`` prints them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from wardround.client.ledger.cost import in_words

if TYPE_CHECKING:
    from wardround.client.ledger.accounts import Accounts, RunAccount
    from wardround.common.privacy.witness import Bound

_WIDEST: Final = 1000
_LEGEND: Final = (
    "rounds: begun/reserved; 40+1/40 is 40 of 40, of which one was computed and paid for once more after a crash",
    "epsilon: what was spent, for this run alone (PLD); reserved: with the rounds to come",
    "enforced: what was spent, as it counts against the limit",
)


def print_accounts(found: Accounts) -> None:
    """Print a ledger's accounts."""
    console = Console()
    if found.site is None:
        console.print("This hospital has no ledger yet: no limit was ever set.")
        return
    console.print(f"{found.site}: {found.patients} patients in studies, {found.withdrawn} withdrawn", markup=False)
    _print_limit(console, found)
    console.print(f"spent:  epsilon {_number(found.spent)} for the most burdened patient", markup=False)
    console.print(f"spent and reserved: {_number(found.committed)}; left: {_number(found.left)}", markup=False)
    if found.lost is not None:
        what = f"{bound_in_words(found.lost)} of it counts for events lost in a restore"
        spent_up = math.isinf(found.spent) and math.isfinite(found.lost.number) and found.lost.delta >= found.delta
        rest = ": nothing is left of the limit's delta, so that no finite epsilon holds at it" if spent_up else ""
        console.print(what + rest, style="yellow", markup=False)
    if found.runs:
        _print_runs(console, found)
    console.print(f"{found.events} events; digest of the last one: {found.head}", markup=False, soft_wrap=True)


def bound_in_words(bound: Bound) -> str:
    """An (epsilon, delta); an infinite epsilon has no delta."""
    if math.isinf(bound.number):
        return "an infinite epsilon"
    return f"epsilon {in_words(bound.number)} at delta {bound.delta:g}"


def _print_limit(console: Console, found: Accounts) -> None:
    limit = found.limit
    if limit is None:
        console.print("No limit is set: no study with differential privacy can be paid for.", style="yellow")
        return
    words = "no limit" if math.isinf(limit.limit.number) else bound_in_words(limit.limit)
    console.print(f"limit:  {words}, set by {limit.admin} on {limit.at[:10]}: {limit.reason}", markup=False)


def _print_runs(console: Console, found: Accounts) -> None:
    """The table, as wide as it has to be: a run's name is in one piece, so that it can be copied."""
    table = _run_table(found)
    needed = Measurement.get(console, console.options.update(width=_WIDEST), table).maximum
    Console(width=max(console.width, needed)).print(table)
    for line in _LEGEND:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _run_table(found: Accounts) -> Table:
    table = Table(title=f"Study runs, epsilon for each patient at delta {found.delta:g}", box=SIMPLE)
    table.add_column("run, study", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("patients", "rounds", "epsilon", "reserved", "enforced"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in found.runs:
        table.add_row(*_run_row(run))
    table.title_justify = "left"
    return table


def _run_row(run: RunAccount) -> tuple[str, ...]:
    again = f"+{run.again}" if run.again else ""
    return (
        escape(f"{run.run}\n{run.study.removeprefix('sha256:')[:8]}"),
        run.ended or "open",
        str(run.patients),
        f"{run.begun}{again}/{run.rounds}",
        _number(run.tight_spent),
        _number(run.tight_reserved),
        _number(run.enforced_spent),
    )


def _number(epsilon: float | None) -> str:
    return "-" if epsilon is None else in_words(epsilon, ".3f")
