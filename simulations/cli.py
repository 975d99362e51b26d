"""The command ``wardround``. Heavy imports are local to the commands that need them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from click.core import ParameterSource

from wardround.client.cli import app as hospital
from wardround.common.errors import WardroundError
from wardround.server.cli import app as coordinator
from wardround.simulations.deployed import cli as deployed
from wardround.simulations.privacy.cli import app as privacy

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.simulations.results import Results
    from wardround.simulations.run_folder import RunRequest

for name, value in (
    ("OMP_WAIT_POLICY", "passive"),
    ("FLWR_TELEMETRY_ENABLED", "0"),
    ("FLWR_DISABLE_UPDATE_CHECK", "1"),
):
    os.environ.setdefault(name, value)

app = typer.Typer(
    name="wardround",
    help="Federated learning for hospitals: one study, trained together, images stay where they are.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
hospital.command("report")(deployed.own_report)
coordinator.command("report")(deployed.central_report)
app.add_typer(coordinator, name="coordinator")
app.add_typer(hospital, name="hospital")
app.add_typer(privacy, name="privacy")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder with the data sets; default: the variable WARDROUND_DATA.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; a GPU that is asked for must be there.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Arms trained side by side; default: one per core.")]
ThreadsOption = Annotated[int, typer.Option(min=1, max=1024, help="Processor threads per site.")]

_OF_A_NEW_RUN: Final = frozenset({"data", "settings", "seeds", "folds", "threads", "device", "out"})
"""Parameters of ``simulate`` that a run keeps from its beginning."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"wardround {version('wardround')}")
        raise typer.Exit


@app.callback()
def wardround(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the release, and end.")
    ] = False,
) -> None:
    """What holds before any command."""


@app.command()
def simulate(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Argument(help="A study file with a simulation table, or the name of a scenario.")
    ] = None,
    data: DataOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field: section.field=value; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of seeds.")] = 1,
    folds: Annotated[int, typer.Option(min=1, max=100, help="Patient-level folds; 1: the study's own split.")] = 1,
    workers: WorkersOption = None,
    threads: ThreadsOption = 1,
    device: DeviceOption = "auto",
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<study>-<number>.")] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="File of the weights that model.init names; default: in the folder models of the data."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with an interrupted run folder, as it was begun.")] = None,
    write_bounds: Annotated[
        Path | None,
        typer.Option(help="Measure the updates and write the secure sum's settings for a private study to this file."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a study on virtual hospitals on this machine, with all baselines, and write a report."""
    if (study is None) == (resume is None):
        raise typer.BadParameter("give either a study or --resume RUN")
    if resume is not None:
        _refuse_settings_of_a_new_run(context)
    from wardround.simulations import bounds
    from wardround.simulations.experiment import new_request
    from wardround.simulations.run_folder import free_folder, read_request
    from wardround.simulations.scenario import load_scenario

    if resume is not None:
        request, folder = read_request(resume), resume
        if write_bounds is not None:
            bounds.check_measured(request)
    else:
        scenario = load_scenario(str(study), settings or [])
        measured = write_bounds is not None
        request = new_request(
            scenario, data, seeds=seeds, folds=folds, device=device, threads=threads, measure_updates=measured
        )
        folder = out or free_folder(Path("runs"), scenario.study.name)
    _run(request, folder, workers, as_json=as_json, init=init)
    if write_bounds is not None:
        bounds.write_bounds(request, folder, write_bounds)
        if not as_json:
            typer.echo(f"Bounds: {write_bounds}")


def _refuse_settings_of_a_new_run(context: typer.Context) -> None:
    """Refuse beside ``--resume`` every option that would be without effect: the run folder holds them all."""
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name in _OF_A_NEW_RUN
        and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    ]
    if given:
        what = f"{', '.join(given)}: only for a new run"
        raise typer.BadParameter(f"{what}; --resume goes on with the options that the run was begun with")


@app.command()
def demo(
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/demo-<number>.")] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    real_processes: Annotated[
        bool,
        typer.Option("--deployed", help="Coordinator and hospitals as processes of their own, over mutual TLS."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Three hospitals on this machine: real images if WARDROUND_DATA is set, phantoms if not."""
    if real_processes:
        if workers is not None or device != "auto":
            raise typer.BadParameter("--workers and --device are for a simulation")
        deployed.show_demo(data, out, as_json=as_json)
        return
    from wardround.simulations.demo import demo_scenario
    from wardround.simulations.experiment import new_request
    from wardround.simulations.run_folder import free_folder

    request = new_request(demo_scenario(data), data, seeds=1, folds=1, device=device, threads=1)
    _run(request, out or free_folder(Path("runs"), "demo"), workers, as_json=as_json)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="The model folder of a finished run.")],
    data: Annotated[Path, typer.Option(help="Manifest of the data set to score the model on.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the manifest's paths; default: the manifest's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Result folder; default: runs/evaluate-<number>.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Score a saved model on all patients of a data set, one that it never saw included."""
    from wardround.simulations.evaluation import evaluate_model
    from wardround.simulations.run_folder import free_folder
    from wardround.simulations.tables import show_metrics

    folder = out or free_folder(Path("runs"), "evaluate")
    results = evaluate_model(model, data, root, folder, device=device)
    _answer(results, folder, show_metrics, as_json=as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")], as_json: JsonFlag = False
) -> None:
    """Write the figures and report.html of a finished run again."""
    from wardround.simulations.report.write import write_report

    path = write_report(run)
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"Report: {path}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more finished runs.")], as_json: JsonFlag = False
) -> None:
    """Put the main results of several runs side by side."""
    from wardround.simulations.tables import comparison, differing_studies, show_comparison

    rows = comparison(runs)
    note = differing_studies(runs)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        show_comparison(rows, [run.name for run in runs])
    if note is not None:
        typer.echo(note, err=as_json)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="aggregation, deployment, dp, secagg or simulation.")],
    as_json: JsonFlag = False,
) -> None:
    """Measure wardround against its peers on this machine, in turn, with one thread each."""
    from wardround.simulations.bench.catalogue import run_bench
    from wardround.simulations.bench.show import show_bench

    found = run_bench(name)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show_bench(found)


@app.command()
def attack(
    name: Annotated[
        str,
        typer.Argument(
            help="secagg: a malicious coordinator against the secure sum; leakage: attacks on a promise to patients."
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="leakage: a study file or scenario with a privacy table, or the folder of a finished run; default: a "
            "toy that promises epsilon 3.",
        ),
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(help="secagg: one attack by its name; may be repeated; default: all.")
    ] = None,
    sites: Annotated[
        list[int] | None,
        typer.Option(min=3, max=50, help="secagg: 3, 5, 10 or 50 sites; may be repeated; default: all four."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="leakage: change a field: section.field=value; may be repeated."),
    ] = None,
    data: DataOption = None,
    init: Annotated[
        Path | None,
        typer.Option(help="leakage: file of the weights that model.init names; default: in the folder of the data."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="leakage: audits with a thousand canaries each.")] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="leakage: toys alone; no run is trained and no network inverted.")
    ] = False,
    without_privacy: Annotated[
        bool, typer.Option("--without-privacy", help="leakage: without the study's noise, which has to fail.")
    ] = False,
    workers: WorkersOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the transcripts; default: runs/attack-<number>.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Attack wardround's own protections: each attack must get nowhere, and succeed once its rules or noise are off."""
    from wardround.simulations.attacks.command import run_attack, watching
    from wardround.simulations.attacks.leakage.results import NAME
    from wardround.simulations.attacks.show import show_attack
    from wardround.simulations.run_folder import free_folder

    of_leakage = bool(target or settings or quick or without_privacy or init)
    if (of_leakage and name != NAME) or ((case or sites) and name == NAME):
        raise typer.BadParameter("--case and --sites are for secagg; a study, --set, --quick and the like for leakage")
    if init is not None and (target is None or quick):
        raise typer.BadParameter("--init belongs to a study whose runs are attacked: without --quick")
    folder = out or free_folder(Path("runs"), "attack")
    if name == NAME:
        from wardround.simulations.attacks.leakage.command import Wanted, run_leakage
        from wardround.simulations.attacks.leakage.show import show_leakage

        side_by_side = workers or os.cpu_count() or 1
        wanted = Wanted(target, settings or (), data, seeds, quick, without_privacy, side_by_side, init)
        with watching(quiet=as_json) as watch:
            found = run_leakage(wanted, folder, watch)
        _end_attack(found.model_dump_json(), lambda: show_leakage(found), holds=found.passed, as_json=as_json)
        return
    report = run_attack(name, folder, case or [], sites or [], quiet=as_json)
    holds = report.holds and bool(report.cases)
    _end_attack(report.model_dump_json(), lambda: show_attack(report), holds=holds, as_json=as_json)


def _end_attack(document: str, show: Callable[[], None], *, holds: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(document)
    else:
        show()
    if not holds:
        raise typer.Exit(1)


def _run(request: RunRequest, folder: Path, workers: int | None, *, as_json: bool, init: Path | None = None) -> None:
    from rich.console import Console

    from wardround.client.statement.caution import promise_warnings
    from wardround.client.train.device import choose_device
    from wardround.simulations.experiment import simulate
    from wardround.simulations.progress import QuietProgress, RichProgress
    from wardround.simulations.tables import show_run

    side_by_side = workers or max(1, (os.cpu_count() or 1) // request.threads)
    try:
        if as_json:
            results = simulate(request, folder, workers=side_by_side, progress=QuietProgress(), init=init)
        else:
            console = Console(stderr=True)
            device = choose_device(request.device).description
            console.print(f"{request.study.title}\nRuns on {device}, {side_by_side} side by side", markup=False)
            for words in promise_warnings(request.study):
                console.print(f"Warning: {words}", style="yellow", markup=False, soft_wrap=True)
            with RichProgress(console) as progress:
                results = simulate(request, folder, workers=side_by_side, progress=progress, init=init)
    except KeyboardInterrupt as error:
        fix = f"Go on with: wardround simulate --resume {shlex.quote(str(folder))}"
        raise WardroundError("WR-1508", "The run was interrupted; finished arms are kept.", fix=fix) from error
    _answer(results, folder, lambda found: show_run(found, request.study, folder), as_json=as_json)


def _answer(results: Results, folder: Path, show: Callable[[Results], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(results.model_dump_json(by_alias=True))
        return
    show(results)
    page = folder / "report.html"
    typer.echo(f"Report: {page.resolve()}" if page.exists() else f"Results: {(folder / 'results.json').resolve()}")


def _refused(error: WardroundError) -> dict[str, Any]:
    return {"error": {"code": error.code, "what": error.what, "fix": error.fix}}


def main() -> None:
    """Entry point: exit code 0 done, 1 refused or failed with a WR code, 2 wrong usage."""
    try:
        app()
    except WardroundError as error:
        _refuse(error)
    except OSError as error:  # without the name of the file, which may say who a patient is
        _refuse(
            WardroundError("WR-1506", f"A file could not be read or written: {error.strerror or 'unknown reason'}.")
        )


def _refuse(error: WardroundError) -> NoReturn:
    if "--json" in sys.argv:
        typer.echo(json.dumps(_refused(error), ensure_ascii=False))
    typer.echo(f"{error.code}: {error.page.title}\n  {error.what}\n  {error.fix}", err=True)
    sys.exit(1)
