"""``wardround hospital join roster serve doctor``. Heavy imports are local to the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.consortium.enrolment import Admission
    from wardround.common.roster import Roster

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

roster_app = typer.Typer(help="Whom this hospital takes for members of its consortium.")


def add_commands(app: typer.Typer) -> None:
    """Add the commands to ``wardround hospital``."""
    app.command()(join)
    app.command()(serve)
    app.command()(doctor)
    app.add_typer(roster_app, name="roster")


def join(
    code: Annotated[
        str | None,
        typer.Argument(help="The invite code from the coordinator; - reads it from standard input, out of sight."),
    ] = None,
    home: HomeOption = None,
    site: Annotated[str | None, typer.Option(help="The name that the coordinator invited this hospital under.")] = None,
    label: Annotated[str, typer.Option(help="What people call the hospital.")] = "",
    request: Annotated[
        Path | None, typer.Option(help="Without a code: write a request to this file, for the coordinator.")
    ] = None,
    admission: Annotated[Path | None, typer.Option(help="Without a code: the coordinator's answer.")] = None,
    new_identity: Annotated[
        bool, typer.Option("--new-identity", help="Join as somebody new; the old identity key is kept aside.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Join a consortium, by code over the network or by files. All keys are made here and stay here.

    Joining again with a new code gives this hospital new keys for its connection; its identity stays, unless it was
    revoked: then a new one is made, and the old key is kept aside.
    """
    if sum(given is not None for given in (code, request, admission)) != 1:
        raise typer.BadParameter("give a code, or --request FILE, or --admission FILE")
    if new_identity and admission is not None:
        raise typer.BadParameter("--new-identity belongs to a code or a request; the admission answers one")
    from wardround.client import identity
    from wardround.client.enrol import complete, join_by_code, prepare_home, read_admission
    from wardround.client.home import named_home
    from wardround.common.consortium.enrolment import InviteCode

    path = named_home(home)
    invite = None if code is None else InviteCode.from_text(_typed() if code == "-" else code)
    at = prepare_home(path, site)
    before = identity.earlier_identities(at)
    if request is not None:
        if new_identity:
            identity.new_identity(at)
        _write_request(at, label, request, as_json=as_json)
        return
    if invite is not None:
        found = join_by_code(at, invite, label, _gate(at), anew=new_identity)
    else:
        found = read_admission(admission or Path())
        complete(at, found)
    _joined(at, found, anew=identity.earlier_identities(at) != before, as_json=as_json)


def serve(home: HomeOption = None) -> None:
    """Run the agent: one outgoing connection to the coordinator, and a worker process that trains.

    It ends with SIGTERM or Ctrl-C. What is wrong stands in agent.log and status.json, and in wardround hospital doctor.
    """
    from wardround.client.agent.serve import serve as run
    from wardround.client.home import named_home

    run(named_home(home))


def doctor(
    home: HomeOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not greet the coordinator.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check everything that has to hold before this hospital can take part; exit code 1 if something does not."""
    from dataclasses import asdict

    from wardround.client.agent.doctor import examine
    from wardround.client.home import named_home

    findings = []
    for finding in examine(named_home(home), network=not offline):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{'PASSED ' if finding.passed else 'PROBLEM'} {finding.check}: {finding.words}")
            if not finding.passed:
                typer.echo(f"        {finding.code}. {finding.fix}".rstrip())
    passed = all(finding.passed for finding in findings)
    if as_json:
        typer.echo(json.dumps({"passed": passed, "checks": [asdict(finding) for finding in findings]}))
    raise typer.Exit(0 if passed else 1)


@roster_app.callback(invoke_without_command=True)
def roster(
    context: typer.Context,
    home: HomeOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the coordinator for the newest one.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the accepted roster, and the one that waits for a person: what it changes, with fingerprints to compare."""
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    from wardround.client.agent.news import ask_for_roster
    from wardround.client.home import open_home
    from wardround.client.identity import accepted_by, last_roster
    from wardround.client.offer import changes, offered

    at = open_home(home)
    problem = None if offline else ask_for_roster(at)
    accepted = last_roster(at)
    waiting = offered(at)
    if as_json:
        answer: dict[str, Any] = {
            "accepted": accepted and {**_facts(accepted), "by": accepted_by(at)},
            "offered": waiting and {**_facts(waiting.roster), "authority": _authority(waiting.authority)},
            "asked": not offline and problem is None,
        }
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    if problem is not None:
        typer.echo(f"The coordinator could not be asked, there may be a newer one. {problem.code}: {problem.what}\n")
    if accepted is None:
        typer.echo("No roster was accepted here yet.")
    else:
        typer.echo(f"Accepted by {accepted_by(at)}:")
        _show(accepted)
    if waiting is None:
        return
    found = changes(at, waiting.roster)
    typer.echo("\nThis one waits for a person here:")
    _show(waiting.roster)
    typer.echo(f"  signed by the authority {_authority(waiting.authority)}")
    for words, sites in (("New", found.added), ("Gone", found.removed), ("With another key", found.rekeyed)):
        if sites:
            typer.echo(f"  {words}: {', '.join(sites)}")
    typer.echo("Have the coordinator read the roster's fingerprint to you over the telephone, then:")
    digits = waiting.roster.fingerprint.replace(" ", "")
    typer.echo(f'  wardround hospital roster accept {digits} --by "YOUR NAME"')


@roster_app.command("accept")
def accept(
    context: typer.Context,
    fingerprint: Annotated[
        list[str], typer.Argument(help="Of the roster, as you compared it by telephone; spaces do not matter.")
    ],
    by: Annotated[str, typer.Option(help="The person who compared it.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Accept the roster that waits. From then on these members and keys count here, and no others."""
    from wardround.client.home import open_home
    from wardround.client.offer import accept_offer

    at = open_home(home if home is not None else context.obj)
    found = accept_offer(at, "".join(fingerprint), by)
    if as_json:
        typer.echo(json.dumps({**_facts(found), "by": by}, ensure_ascii=False))
    else:
        typer.echo(f"Version {found.version} of the roster of {found.consortium} is accepted.")


def _typed() -> str:
    """What stands in standard input; a person at a terminal types or pastes one line, unseen."""
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("Invite code", hide_input=True))
    return sys.stdin.read(10_000)


def _gate(home: Home) -> Any:  # noqa: ANN401 - what the egress gate makes of a request
    from wardround.client.egress import Gate

    def none(_: object) -> Any:  # noqa: ANN401
        raise RuntimeError("a request has no vector")

    return Gate(home, none).request


def _write_request(home: Home, label: str, path: Path, *, as_json: bool) -> None:
    import time

    from wardround.client.enrol import request
    from wardround.client.identity import site_key
    from wardround.common.crypto.signing import fingerprint

    signed = request(home, label, now=int(time.time()))
    try:
        path.write_bytes(signed.canonical() + b"\n")
    except OSError as error:
        what = f"The request cannot be written to {path.name} ({type(error).__name__})."
        raise WardroundError("WR-1914", what, fix="Name a file in a folder that this account may write to.") from error
    digits = fingerprint(site_key(home).public)
    if as_json:
        typer.echo(json.dumps({"site": home.site, "request": str(path), "fingerprint": digits}))
        return
    typer.echo(f"The request is written to {path}. Take it to the coordinator, and read this fingerprint to them:")
    typer.echo(f"  {digits}")
    typer.echo("With the file that they give you: wardround hospital join --admission FILE")


def _joined(home: Home, admission: Admission, *, anew: bool, as_json: bool) -> None:
    from wardround.common.crypto.signing import fingerprint

    found = admission.roster.roster
    key = fingerprint(found.public_key(home.site))
    if as_json:
        facts = {"site": home.site, "fingerprint": key, "new_identity": anew, "roster": _facts(found)}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    if anew:
        typer.echo("It has a new identity. The old key is kept as identity.….key, and the privacy ledger goes on.")
    typer.echo(f"{home.site} is a member of {found.consortium}. The fingerprint of its own key:")
    typer.echo(f"  {key}")
    typer.echo("Next: wardround hospital roster, to see the members and compare fingerprints by telephone.")


def _facts(found: Roster) -> dict[str, Any]:
    members = {
        site: {"label": member.label, "fingerprint": member.fingerprint} for site, member in found.members.items()
    }
    return {
        "consortium": found.consortium,
        "version": found.version,
        "fingerprint": found.fingerprint,
        "members": members,
    }


def _show(found: Roster) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    typer.echo(f"  {found.consortium}, version {found.version}; fingerprint of the whole roster:")
    typer.echo(f"  {found.fingerprint}")
    table = Table("site", "hospital", "fingerprint of its key")
    for site, member in sorted(found.members.items()):
        table.add_row(str(site), Text(member.label), member.fingerprint)
    Console().print(table)


def _authority(key: str) -> str:
    from wardround.common.crypto.signing import fingerprint

    return fingerprint(bytes.fromhex(key))
