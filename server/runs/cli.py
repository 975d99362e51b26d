"""``wardround coordinator``: the process, and the runs. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.server.options import DirOption, JsonFlag, opened

if TYPE_CHECKING:
    from wardround.server.serve import Coordinator

ByOption = Annotated[str, typer.Option(help="The person who does so.")]
RunArgument = Annotated[str, typer.Argument(help="The run's id, or the name of a study: its newest run.")]


def serve(
    folder: DirOption,
    listen: Annotated[
        str | None, typer.Option(help="host:port on which the gateway listens; default: that of coordinator.toml.")
    ] = None,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of /metrics and /health on 127.0.0.1; 0 for any.")
    ] = 9109,
    as_json: JsonFlag = False,
) -> None:
    """Run the coordinator until it is told to stop; runs that were interrupted go on."""
    from wardround.server.serve import serve as run

    def ready(coordinator: Coordinator) -> None:
        if as_json:
            typer.echo(json.dumps(coordinator.status()))

    run(folder, listen=listen, metrics_port=metrics_port, terminal=None if as_json else sys.stderr, ready=ready)


def start(
    study: Annotated[str, typer.Argument(help="Name or hash of the proposed study.")],
    folder: DirOption,
    by: ByOption,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial model and of the order of images.")] = 0,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A site that does not take part; may be repeated.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Once more after a run that was completed; patients pay once more.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a study that its hospitals have approved; the running coordinator begins at once."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.start(consortium, study, by=by, seed=seed, without=tuple(without or ()), again=again)
    _told(row.id, row.state, f"Run {row.id} is asked for. wardround coordinator watch shows it.", as_json=as_json)


def stop(run: RunArgument, folder: DirOption, by: ByOption, as_json: JsonFlag = False) -> None:
    """End a run, also one that failed; its committed rounds stay."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.stop(consortium.store, run, by=by)
    told = f"Run {row.id} ends after round {row.committed}. To go on: wardround coordinator resume {row.id} --by NAME"
    _told(row.id, row.state, told, as_json=as_json)


def resume(run: RunArgument, folder: DirOption, by: ByOption, as_json: JsonFlag = False) -> None:
    """Go on with a run that was stopped or failed, after its last committed round."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.resume(consortium, run, by=by)
    _told(row.id, row.state, f"Run {row.id} goes on after round {row.committed}.", as_json=as_json)


def watch(
    folder: DirOption,
    page: Annotated[
        Path | None, typer.Option("--html", help="Keep a page up to date instead; it loads itself anew in a browser.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    seconds: Annotated[float, typer.Option(min=0.2, help="Pause between two looks.")] = 2.0,
    as_json: JsonFlag = False,
) -> None:
    """Show sites and runs as they are now, and go on doing so; Ctrl-C ends it."""
    from wardround.server.runs import overview as showing

    with opened(folder) as consortium:
        if as_json:
            typer.echo(json.dumps(showing.overview(consortium), ensure_ascii=False))
        elif page is not None:
            showing.keep_page(consortium, page, seconds=seconds, once=once)
        else:
            showing.keep_terminal(consortium, seconds=seconds, once=once)


def doctor(folder: DirOption, as_json: JsonFlag = False) -> None:
    """Check what a coordinator needs; each problem is named with what to do about it."""
    from wardround.server.doctor import examine, show

    findings = examine(folder)
    if as_json:
        typer.echo(json.dumps([finding.facts() for finding in findings], ensure_ascii=False))
    else:
        show(findings)
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def backup(
    out: Annotated[Path, typer.Argument(help="The file to write. It holds the authority's key: keep it safe.")],
    folder: DirOption,
    as_json: JsonFlag = False,
) -> None:
    """Write everything that cannot be made anew into one file, also while the coordinator runs."""
    from wardround.server.backup import back_up

    size = back_up(folder, out)
    words = f"Backup: {out}, {size} bytes. It holds the authority's key: whoever has it can sign for the consortium."
    typer.echo(json.dumps({"backup": str(out), "bytes": size}) if as_json else words)


def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")], folder: DirOption, as_json: JsonFlag = False
) -> None:
    """Make the coordinator's folder of a backup; runs that were not over are stopped and can be resumed.

    Invites are withdrawn, the roster gets a newer version. Who was revoked after the backup has to be revoked again.
    """
    from dataclasses import asdict

    from wardround.server.backup import restore as bring_back
    from wardround.server.consortium.showing import day

    found = bring_back(file, folder)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(f"The folder is restored as it was on {day(found.moment)}.")
    typer.echo(f"Stopped, to be resumed: {', '.join(found.stopped) or 'no run'}")
    typer.echo(f"Invites that were withdrawn, to be made anew: {', '.join(found.uninvited) or 'none'}")
    if found.members:
        typer.echo(f"Members, with their certificates of then: {', '.join(found.members)}")
        typer.echo("Before you serve: who was revoked after that day is not known here, and would be let in again.")
        typer.echo("Compare with your notes and with what hospitals have accepted (wardround hospital roster). Then:")
        typer.echo("  wardround coordinator revoke SITE --reason WHY")
        typer.echo(f"Every hospital has to accept version {found.roster} of the roster, and sees who is in it.")


def unit(as_json: JsonFlag = False) -> None:
    """Print the systemd unit of the coordinator, as it comes with this release."""
    from importlib.resources import files

    name = "wardround-coordinator.service"
    content = (files("wardround.server") / "systemd" / name).read_text(encoding="utf-8")
    typer.echo(json.dumps({"name": name, "content": content}) if as_json else content, nl=as_json)


def mount(app: typer.Typer) -> None:
    """Add the commands to the coordinator's."""
    for command in (serve, start, stop, resume, watch, doctor, backup, restore, unit):
        app.command()(command)


def _told(run: str, state: str, words: str, *, as_json: bool) -> None:
    document: dict[str, Any] = {"run": run, "state": state}
    typer.echo(json.dumps(document) if as_json else words)
