"""``wardround privacy``: what a study promises its patients, and what the promise costs in quality."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.simulations.privacy.curve import CurveRequest
    from wardround.simulations.privacy.curves import Curves

app = typer.Typer(
    name="privacy",
    help="What a study promises its patients, and what the promise costs in quality.",
    no_args_is_help=True,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
StudyArgument = Annotated[str, typer.Argument(help="A scenario file, or the name of a scenario.")]
SettingOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: section.field=value; may be repeated.")
]


@app.command()
def statement(
    study: Annotated[str, typer.Argument(help="A study file, a scenario file, or the name of a scenario.")],
    settings: SettingOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the privacy statement of a study, before anything is trained."""
    from wardround.client.statement.markdown import markdown
    from wardround.client.statement.statement import statement as make
    from wardround.simulations.scenario import load_study

    found = make(load_study(study, settings or []))
    typer.echo(found.model_dump_json(by_alias=True) if as_json else markdown(found).rstrip())


@app.command()
def curve(
    study: StudyArgument,
    epsilon: Annotated[str, typer.Option(help="Epsilons, parted by commas; infinite: clipping without noise.")] = (
        "1,2,4,8,infinite"
    ),
    trust: Annotated[str, typer.Option(help="Trust models, parted by commas.")] = "distributed,local",
    reference: Annotated[
        str | None,
        typer.Option(help="Scenario trained without a promise for comparison; default: the same without \\[privacy]."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with the data sets; default: the variable WARDROUND_DATA.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="File of the weights that model.init names; default: in the folder models of the data."),
    ] = None,
    settings: SettingOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of seeds.")] = 3,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings side by side; default: one per core.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Processor threads per site.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; a GPU that is asked for must be there.")] = (
        "auto"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder; one of an interrupted curve is taken up again; default: runs/curve-<study>-<number>."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a study at several epsilons and trust models, and draw its main metric against epsilon."""
    from wardround.simulations.experiment import new_request
    from wardround.simulations.privacy.curve import curve_request
    from wardround.simulations.privacy.points import read_epsilon, read_trust
    from wardround.simulations.run_folder import free_folder
    from wardround.simulations.scenario import load_scenario

    scenario = load_scenario(study, settings or [])
    request = curve_request(
        new_request(scenario, data, seeds=seeds, device=device, threads=threads),
        [read_epsilon(item) for item in epsilon.split(",")],
        [read_trust(item) for item in trust.split(",")],
        None if reference is None else load_scenario(reference),
    )
    folder = out or free_folder(Path("runs"), f"curve-{scenario.study.name}")
    found = _drawn(request, folder, workers or max(1, (os.cpu_count() or 1) // threads), init, quiet=as_json)
    _answer(found, folder, as_json=as_json)


def _drawn(request: CurveRequest, folder: Path, workers: int, init: Path | None, *, quiet: bool) -> Curves:
    from rich.console import Console

    from wardround.simulations.privacy.curve import draw_curve
    from wardround.simulations.progress import RichProgress

    try:
        if quiet:
            return draw_curve(request, folder, workers=workers, init=init)
        with RichProgress(Console(stderr=True)) as progress:
            return draw_curve(request, folder, workers=workers, progress=progress, init=init)
    except KeyboardInterrupt as error:
        fix = f"Give the same command again with: --out {shlex.quote(str(folder))}"
        raise WardroundError("WR-1508", "The curve was interrupted; finished trainings are kept.", fix=fix) from error


def _answer(found: Curves, folder: Path, *, as_json: bool) -> None:
    from wardround.simulations.privacy.show import show_curves

    if as_json:
        typer.echo(found.model_dump_json(by_alias=True))
        return
    show_curves(found)
    typer.echo(f"Figure: {(folder / 'figures' / 'curve.png').resolve()}")
