"""``wardround hospital``: what a hospital's staff run. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.client.agent.cli import add_commands
from wardround.client.data.cli import app as data_app
from wardround.client.ledger.cli import app as ledger_app
from wardround.client.weights.cli import app as weights_app

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.consortium.studies import Proposal

app = typer.Typer(
    help="What a hospital runs: decide about studies, look after its data sets, its privacy budget and private runs.",
    no_args_is_help=True,
)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
app.add_typer(weights_app, name="weights")
add_commands(app)

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
StudyArgument = Annotated[str, typer.Argument(help="The study's hash, or its first 8 digits or more.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Registered data set that the study may use; may be repeated; default: the only one."),
]
ReasonOption = Annotated[str, typer.Option(help="Why; the coordinator is told.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def studies(
    study: Annotated[str | None, typer.Argument(help="A study's hash, to see all that it asks for.")] = None,
    data: DataOption = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the studies that were proposed to this hospital, or show all that one of them asks for.

    Nothing is decided by looking.
    """
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal
    from wardround.client.studies.listing import list_studies, print_studies

    at = open_home(home)
    if study is not None:
        found = _look(at, find_proposal(at, study), data, quiet=as_json)
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        return
    listed = list_studies(at)
    if as_json:
        typer.echo(json.dumps([entry.as_json() for entry in listed], ensure_ascii=False))
    else:
        print_studies(listed)


@app.command()
def approve(
    study: StudyArgument,
    by: Annotated[str, typer.Option(help="Name of the person who approves.")],
    second: Annotated[str | None, typer.Option(help="Name of a second person, where policy asks for two.")] = None,
    data: DataOption = None,
    reason: ReasonOption = "",
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again; on a terminal it asks.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show all that a study asks for, and approve it: from then on it may run here.

    The approval is of this hash alone; a study that is changed by one byte needs a new one. The agent tells the
    coordinator when it is connected.
    """
    from wardround.client.approval import People, check_asked, check_people
    from wardround.client.approval import approve as decide
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal

    at, people = open_home(home), People(by, second, reason)
    proposal = find_proposal(at, study)
    check_people(at, people)
    check_asked(proposal)
    shown = _look(at, proposal, data, quiet=as_json)
    if shown["approvable"] and not (yes or as_json) and sys.stdin.isatty():
        names = by if second is None else f"{by} and {second}"
        typer.confirm(f"Approve this study as {names}?", abort=True)
    signed = decide(at, proposal, people, data=data or [], now=_now())
    if as_json:
        typer.echo(json.dumps({"decision": json.loads(signed.content), "study": shown}, ensure_ascii=False))
    else:
        typer.echo(f"Approved. {_TOLD}")


@app.command()
def reject(
    study: StudyArgument,
    by: Annotated[str, typer.Option(help="Name of the person who decides.")],
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Reject a study, or withdraw its approval: nothing of it runs here from now on.

    What has left by then is not undone, and what was spent stays spent.
    """
    from wardround.client.approval import People
    from wardround.client.approval import reject as decide
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal

    at = open_home(home)
    signed = decide(at, find_proposal(at, study).study_id, People(by, reason=reason), now=_now())
    decision = json.loads(signed.content)
    typer.echo(json.dumps(decision, ensure_ascii=False) if as_json else f"{decision['verdict'].capitalize()}. {_TOLD}")


@app.command()
def policy(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Show this hospital's own rules, which no study can overrule."""
    from wardround.client.home import open_home
    from wardround.client.studies.rules import print_rules, rules

    at = open_home(home)
    if as_json:
        typer.echo(json.dumps({rule["rule"]: rule for rule in rules(at)}, ensure_ascii=False))
    else:
        print_rules(at)


@app.command()
def leave(
    run: Annotated[str, typer.Argument(help="The study run, as in wardround hospital ledger show or egress.jsonl.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Leave a study run for good, erase its keys and sealed updates, and free what it never spent.

    For runs that never came to their end, and after records were damaged or restored from a backup. The coordinator
    hears of it when it asks next.
    """
    from wardround.client.home import open_home
    from wardround.client.leaving import leave as leave_for_good
    from wardround.common.ids import StudyRunId

    left = leave_for_good(open_home(home), StudyRunId(run))
    if as_json:
        typer.echo(json.dumps({"run": run, "erased": left.erased, "settled": list(left.settled)}))
        return
    erased = "its keys and sealed updates are erased" if left.erased else "it had no keys or updates here"
    settled = "rounds that never began are free again in the privacy ledger, those that began stay spent"
    nothing = "the privacy ledger had nothing open for it"
    typer.echo(f"Left {run}: {erased}; {settled if left.settled else nothing}.")


@app.command()
def unit(
    gpu: Annotated[bool, typer.Option("--gpu", help="The drop-in that lets the service use a GPU.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print the systemd unit of the agent, as it comes with this release."""
    from importlib.resources import files

    name = "wardround-hospital-gpu.conf" if gpu else "wardround-hospital.service"
    content = (files("wardround.client") / "systemd" / name).read_text(encoding="utf-8")
    typer.echo(json.dumps({"name": name, "content": content}) if as_json else content, nl=as_json)


_TOLD = "The agent tells the coordinator when it is connected."


def _look(home: Home, proposal: Proposal, data: list[str] | None, *, quiet: bool) -> dict[str, object]:
    """Show what a study asks for, and give the same for ``--json``."""
    from wardround.client.studies.overview import overview
    from wardround.client.studies.showing import print_overview

    found = overview(home, proposal, data or [])
    if not quiet:
        print_overview(found)
    return found.as_json()


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
