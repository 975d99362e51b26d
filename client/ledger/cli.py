"""``wardround hospital ledger``: the privacy ledger for staff. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from rich.table import Table

    from wardround.client.home import Home
    from wardround.client.ledger.accounts import Accounts, RunAccount
    from wardround.common.privacy.witness import SignedHead

app = typer.Typer(
    help="The privacy ledger: what studies cost this hospital's patients, and what they may cost at most.",
    no_args_is_help=True,
)

HomeOption = Annotated[Path, typer.Option(help="The hospital's home folder.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
AdminOption = Annotated[str, typer.Option(help="Name of the person who decides this.")]
ReasonOption = Annotated[str, typer.Option(help="Why; stays in the ledger.")]
OutOption = Annotated[Path, typer.Option(help="The file to write.")]


@app.command()
def show(home: HomeOption, as_json: JsonFlag = False) -> None:
    """Show what each study run has spent and reserved, the limit, and what is left."""
    from wardround.client.ledger.accounts import accounts

    found = accounts(_home(home).ledger.state())
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _print_accounts(found)


@app.command()
def limit(
    home: HomeOption,
    epsilon: Annotated[float, typer.Option(min=0.01, max=1e6, help="What each patient may bear over all studies.")],
    delta: Annotated[float, typer.Option(min=1e-12, max=0.01, help="Probability with which epsilon may be exceeded.")],
    admin: AdminOption,
    reason: ReasonOption,
) -> None:
    """Set the limit: the (epsilon, delta) that each patient may bear over all studies together.

    It replaces the one before and holds at once, also for rounds that are reserved.
    """
    _check_words(admin, reason)
    if math.isnan(epsilon) or math.isnan(delta):  # which no range excludes
        raise typer.BadParameter("epsilon and delta are numbers")
    _home(home).ledger.set_limit(epsilon, delta, admin=admin, reason=reason, now=_now())
    typer.echo(f"The limit is epsilon {epsilon:g} at delta {delta:g}, set by {admin}.")


@app.command()
def withdraw(
    home: HomeOption,
    patients: Annotated[Path, typer.Option(help="File with one patient id a line, as in the data sets; -: the input.")],
) -> None:
    """Take patients out of every study from now on. What was spent on them stays spent.

    Ids are read from a file, because a command line is seen by others and kept.
    """
    from wardround.client.ledger.patients import Cohort

    at = _home(home)
    ids = [line.strip() for line in _text(patients).splitlines() if line.strip()]
    if not ids:
        raise typer.BadParameter("there is no patient id in the file")
    leaving = Cohort.of(at.patient_key(patient) for patient in ids)
    known = at.ledger.state().patients
    strangers = sum(not known.cohorts_of(key) for key in leaving)
    at.ledger.withdraw(leaving, now=_now())
    typer.echo(f"Withdrawn: {len(leaving)} patients, {strangers} of them in no study so far.")
    typer.echo("Open study runs with any of them are refused from now on; take their images out of the data sets.")


@app.command()
def export(
    home: HomeOption,
    out: OutOption,
    form: Annotated[
        Literal["json", "csv"], typer.Option("--format", help="json can be checked, csv is for reading.")
    ] = "json",
) -> None:
    """Write every event for the data-protection officer. No patient key is in it."""
    from wardround.client.ledger.export import as_csv, as_json

    events = _home(home).ledger.events()
    if not events:
        raise _no_ledger()
    _write(out, (as_csv if form == "csv" else as_json)(events).encode())
    typer.echo(f"{len(events)} events written; the last one's digest is {events[-1][1].hex()}.")


@app.command()
def picture(home: HomeOption, out: OutOption) -> None:
    """Draw what the most burdened patient has borne, study by study, against the limit (PNG)."""
    from wardround.client.ledger.accounts import accounts, moments
    from wardround.client.ledger.picture import MOST_POINTS
    from wardround.client.ledger.picture import picture as drawn

    ledger = _home(home).ledger
    state = ledger.state()
    if state.opened is None:
        raise _no_ledger()
    history = moments(ledger.events(), state.cohorts, MOST_POINTS)
    _write(out, drawn(state.opened.site, accounts(state).delta, history))
    typer.echo(f"Drawn: {state.sequence} events.")


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="Copy of ledger.sqlite from a backup.")],
    home: HomeOption,
    admin: AdminOption,
    reason: ReasonOption,
    head: Annotated[
        list[Path] | None, typer.Option(help="A head of this ledger that a witness kept (JSON); may be repeated.")
    ] = None,
) -> None:
    """Put a backup in the ledger's place and charge the worst that can have happened since.

    Keep ledger.head where it is: it shows what the backup lacks.
    """
    _check_words(admin, reason)
    at = _home(home)
    heads = [_signed_head(path) for path in head or []]
    event = at.ledger.restore(backup, admin=admin, reason=reason, now=_now(), heads=heads)
    typer.echo(f"Restored; this is incarnation {event.incarnation[:8]} of the ledger. The file it replaced was kept.")
    if event.lost is not None:
        typer.echo(
            f"Events are missing that may have used up to epsilon {event.lost.number:g} at delta {event.lost.delta:g}: "
            "every patient is charged with that. Studies need a limit above it, and delta as well. Withdrawals that "
            "came after the backup have to be given again."
        )
    for run in at.ledger.state().runs.values():
        if run.written_off:
            typer.echo(f"{run.reserved.run}: all it had reserved counts as spent. If it was private, leave it:")
            typer.echo(f"  wardround hospital leave --home {home} {run.reserved.run}")


@app.command()
def check(
    home: Annotated[Path | None, typer.Option(help="The hospital's home folder.")] = None,
    exported: Annotated[Path | None, typer.Option("--export", help="A JSON export instead of a ledger.")] = None,
) -> None:
    """Read every event anew and check that none was changed, removed or added."""
    if (home is None) == (exported is None):
        raise typer.BadParameter("give either --home or --export")
    if exported is not None:
        from wardround.client.ledger.export import check_export

        count, digest = check_export(_text(exported).encode())
    else:
        state = _home(home or Path()).ledger.check()
        count, digest = state.sequence, state.digest.hex()
    typer.echo(f"{count} events, each follows upon the one before. The last one's digest is {digest}.")


def _home(path: Path) -> Home:
    from wardround.client.home import Home

    return Home(path)


def _now() -> datetime:
    return datetime.now(UTC)


def _no_ledger() -> WardroundError:
    return WardroundError("WR-1808", "This hospital has no ledger yet.")


def _check_words(admin: str, reason: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from wardround.client.ledger.events import Person, Reason

    for kind, text, name in ((Person, admin, "--admin"), (Reason, reason, "--reason")):
        try:
            TypeAdapter(kind).validate_python(text)
        except ValidationError:
            raise typer.BadParameter(f"{name} has to be one line of printable text") from None


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WardroundError("WR-1813", f"{path.name} cannot be read ({type(error).__name__}).") from error


def _write(path: Path, content: bytes) -> None:
    from wardround.client.home import write_atomically

    try:
        write_atomically(path, content)
    except OSError as error:
        raise WardroundError("WR-1813", f"{path.name} cannot be written ({type(error).__name__}).") from error


def _signed_head(path: Path) -> SignedHead:
    from pydantic import ValidationError

    from wardround.common.privacy.witness import SignedHead

    try:
        return SignedHead.model_validate_json(_text(path))
    except ValidationError:
        raise WardroundError("WR-1816", f"{path.name} does not hold the head of a ledger.") from None


def _print_accounts(found: Accounts) -> None:
    from rich.console import Console

    console = Console()
    if found.site is None:
        console.print("This hospital has no ledger yet: no limit was ever set.")
        return
    console.print(f"{found.site}: {found.patients} patients in studies, {found.withdrawn} withdrawn", markup=False)
    limit = found.limit
    if limit is None:
        console.print("No limit is set: no study with differential privacy can be paid for.", style="yellow")
    else:
        words = "none" if math.isinf(limit.limit.number) else f"epsilon {limit.limit.number:g} at delta {found.delta:g}"
        console.print(f"limit:  {words}, set by {limit.admin} on {limit.at[:10]}: {limit.reason}", markup=False)
    console.print(f"spent:  epsilon {_number(found.spent)} for the most burdened patient", markup=False)
    console.print(f"spent and reserved: {_number(found.committed)}; left: {_number(found.left)}", markup=False)
    if found.lost is not None:
        what = f"epsilon {found.lost.number:g} at delta {found.lost.delta:g} of it counts for events lost in a restore"
        console.print(what, style="yellow", markup=False)
    if found.runs:
        console.print(_run_table(found))
    console.print(f"{found.events} events; digest of the last one: {found.head}", markup=False, soft_wrap=True)


def _run_table(found: Accounts) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=f"Study runs, epsilon for each patient at delta {found.delta:g}", box=SIMPLE)
    table.add_column("run, study", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("patients", "rounds", "epsilon", "reserved", "enforced"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in found.runs:
        table.add_row(*_run_row(run))
    table.caption = (
        "epsilon: what was spent, for this run alone (PLD); reserved: with the rounds to come; "
        "enforced: what was spent, as it counts against the limit"
    )
    table.caption_justify = table.title_justify = "left"
    return table


def _run_row(run: RunAccount) -> tuple[str, ...]:
    again = f"+{run.again}" if run.again else ""
    return (
        f"{run.run}\n{run.study.removeprefix('sha256:')[:8]}",
        run.ended or "open",
        str(run.patients),
        f"{run.begun}{again}/{run.rounds}",
        _number(run.tight_spent),
        _number(run.tight_reserved),
        _number(run.enforced_spent),
    )


def _number(epsilon: float | None) -> str:
    if epsilon is None:
        return "-"
    return "infinite" if math.isinf(epsilon) else f"{epsilon:.3f}"
