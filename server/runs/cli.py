"""``wardround coordinator``: the process, and the runs. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import sys
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
    as_json: JsonFlag = False,
) -> None:
    """Run a study that its hospitals have approved; the running coordinator begins at once."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.start(consortium, study, by=by, seed=seed, without=tuple(without or ()))
    _told(row.id, row.state, f"Run {row.id} is asked for. wardround coordinator watch shows it.", as_json=as_json)


def stop(run: RunArgument, folder: DirOption, by: ByOption, as_json: JsonFlag = False) -> None:
    """End a run; its committed rounds stay."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.stop(consortium.store, run, by=by)
    told = f"Run {row.id} ends after round {row.committed}. To go on: wardround coordinator resume {row.id}"
    _told(row.id, row.state, told, as_json=as_json)


def resume(run: RunArgument, folder: DirOption, by: ByOption, as_json: JsonFlag = False) -> None:
    """Go on with a run that was stopped or failed, after its last committed round."""
    from wardround.server.runs import orders

    with opened(folder) as consortium:
        row = orders.resume(consortium.store, run, by=by)
    _told(row.id, row.state, f"Run {row.id} goes on after round {row.committed}.", as_json=as_json)


def mount(app: typer.Typer) -> None:
    """Add the commands to the coordinator's."""
    for command in (serve, start, stop, resume):
        app.command()(command)


def _told(run: str, state: str, words: str, *, as_json: bool) -> None:
    document: dict[str, Any] = {"run": run, "state": state}
    typer.echo(json.dumps(document) if as_json else words)
