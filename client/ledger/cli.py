"""``wardround hospital ledger``: the privacy ledger for staff. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.client.ledger.events import Restored

app = typer.Typer(
    help="The privacy ledger: what studies cost this hospital's patients, and what they may cost at most.",
    no_args_is_help=True,
)

HomeOption = Annotated[Path, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
AdminOption = Annotated[str, typer.Option(help="Name of the person who decides this.")]
ReasonOption = Annotated[str, typer.Option(help="Why; stays in the ledger.")]
OutOption = Annotated[Path, typer.Option(help="The file to write, outside the home folder.")]
ForceFlag = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]

_ROWS: Final = 20
"""Line numbers that a refusal lists."""


@app.command()
def show(home: HomeOption, as_json: JsonFlag = False) -> None:
    """Show what each study run has spent and reserved, the limit, and what is left."""
    from wardround.client.ledger.accounts import accounts
    from wardround.client.ledger.showing import print_accounts

    found = accounts(_home(home).ledger.state())
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        print_accounts(found)


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
    from wardround.client.ledger.accounts import accounts
    from wardround.client.ledger.cost import in_words

    ledger = _home(home).ledger
    ledger.set_limit(epsilon, delta, admin=admin, reason=reason, now=_now())
    typer.echo(f"The limit is epsilon {epsilon:g} at delta {delta:g}, set by {admin}.")
    committed = accounts(ledger.state()).committed
    if committed > epsilon:
        what = f"Patients have spent and reserved {in_words(committed, '.3f')}, which is more"
        typer.echo(f"{what}: nothing is paid for them until the limit is above that.")


@app.command()
def settle(
    run: Annotated[str, typer.Argument(help="The study run, as show names it.")],
    home: HomeOption,
) -> None:
    """End a study run here, with its validations: rounds that never began are free again, and none can begin.

    For runs that their coordinator never ends. What was spent stays spent. A private run is left instead, which settles
    it too: wardround hospital leave.
    """
    from wardround.client.spending import settle_run, validations_of
    from wardround.common.ids import StudyRunId

    at, name = _home(home), StudyRunId(run)
    state = at.ledger.state()
    known = [state.runs[part] for part in (name, validations_of(name)) if part in state.runs]
    if not known:
        fix = "wardround hospital ledger show names the study runs that have."
        raise WardroundError("WR-1815", "RUN: no study run of this name has reserved anything here.", fix=fix)
    free, over = sum(part.open_rounds for part in known), all(part.settled for part in known)
    settle_run(at, name)
    if over:
        typer.echo(f"{run} had been settled before; nothing has changed.")
    else:
        typer.echo(f"Settled {run}: {free} rounds that never began are free again; it cannot go on.")


@app.command()
def withdraw(
    home: HomeOption,
    patients: Annotated[Path, typer.Option(help="File with one patient id a line, as in the data sets; -: the input.")],
    unknown_too: Annotated[
        bool, typer.Option("--unknown-too", help="Also ids that the ledger does not know, of patients in no study yet.")
    ] = False,
) -> None:
    """Take patients out of every study from now on, for good. What was spent on them stays spent.

    Ids are read from a file, because a command line is seen by others and kept.
    """
    from wardround.client.ledger.patients import Cohort
    from wardround.client.statement.question import count

    at = _home(home)
    keys = {row: at.patient_key(patient) for row, patient in _ids(patients).items()}
    leaving = Cohort.of(keys.values())
    state = at.ledger.state()
    unknown = [row for row, key in keys.items() if not state.patients.cohorts_of(bytes.fromhex(key))]
    strangers = len({keys[row] for row in unknown})
    if strangers and not unknown_too:
        raise _strangers(len(leaving), strangers, unknown)
    gone = len(state.withdrawn.intersection(leaving))
    at.ledger.withdraw(leaving, now=_now())
    typer.echo(
        f"Given: {count(len(leaving), 'patient')}; {len(leaving) - strangers} of them are known to the ledger, "
        f"{gone} had withdrawn before."
    )
    if gone == len(leaving):
        typer.echo("Nothing has changed.")
        return
    typer.echo(f"Withdrawn now: {len(leaving) - gone}.")
    typer.echo("Open study runs with any of them are refused from now on; take their images out of the data sets.")


@app.command()
def export(
    home: HomeOption,
    out: OutOption,
    form: Annotated[
        Literal["json", "csv"], typer.Option("--format", help="json can be checked, csv is for reading.")
    ] = "json",
    force: ForceFlag = False,
) -> None:
    """Write every event for the data-protection officer. No patient key is in it."""
    from wardround.client.ledger.export import as_csv, as_json
    from wardround.client.ledger.files import check_target, write_target

    events = _home(home).ledger.events()
    if not events:
        raise _no_ledger()
    check_target(out, home, force=force)
    write_target(out, (as_csv if form == "csv" else as_json)(events).encode())
    typer.echo(f"{len(events)} events written; the last one's digest is {events[-1][1].hex()}.")


@app.command()
def picture(home: HomeOption, out: OutOption, force: ForceFlag = False) -> None:
    """Draw what the most burdened patient has borne, study by study, against the limit (PNG)."""
    from wardround.client.ledger.accounts import accounts, moments
    from wardround.client.ledger.files import check_target, write_target
    from wardround.client.ledger.picture import MOST_POINTS
    from wardround.client.ledger.picture import picture as drawn

    ledger = _home(home).ledger
    state = ledger.state()
    if state.opened is None:
        raise _no_ledger()
    check_target(out, home, force=force)
    history = moments(ledger.events(), state.cohorts, MOST_POINTS)
    write_target(out, drawn(state.opened.site, accounts(state).delta, history))
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
    from wardround.client.ledger.files import read_head_file

    _check_words(admin, reason)
    at = _home(home)
    heads = [read_head_file(path) for path in head or []]
    event = at.ledger.restore(backup, admin=admin, reason=reason, now=_now(), heads=heads)
    typer.echo(f"Restored; this is incarnation {event.incarnation[:8]} of the ledger. The file it replaced was kept.")
    if event.lost is not None:
        typer.echo(_loss(event))
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
        from wardround.client.ledger.files import read_text

        count, digest = check_export(read_text(exported, "--export").encode())
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


def _ids(path: Path) -> dict[int, str]:
    """Patient ids of a file by the number of their line, from 1."""
    from wardround.client.ledger.files import read_text

    lines = enumerate(read_text(path, "--patients").splitlines(), start=1)
    ids = {number: line.strip() for number, line in lines if line.strip()}
    if not ids:
        raise typer.BadParameter("there is no patient id in the file")
    return ids


def _strangers(given: int, strangers: int, rows: list[int]) -> WardroundError:
    """Lines are told by number: what stands in them may be an id."""
    shown = ", ".join(str(row) for row in rows[:_ROWS]) + (", …" if len(rows) > _ROWS else "")
    what = f"Of {given} patient ids the ledger knows {given - strangers} and does not know {strangers} (lines {shown})."
    return WardroundError("WR-1818", f"{what} Nothing was withdrawn.")


def _loss(event: Restored) -> str:
    """What a restore charged, in words."""
    if event.lost is None:
        return "Nothing is missing but draws on reservations."
    if math.isinf(event.lost.number):
        return (
            "Events are missing, and there was no limit on what they may have used: every patient is charged with an "
            "infinite epsilon, and no finite limit admits a study any more. Withdrawals that came after the backup "
            "have to be given again."
        )
    return (
        f"Events are missing that may have used up to epsilon {event.lost.number:g} at delta {event.lost.delta:g}: "
        "every patient is charged with that. Studies need a limit above it, and delta as well. Withdrawals that "
        "came after the backup have to be given again."
    )
