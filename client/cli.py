"""``wardround hospital``: what a hospital's staff run. Heavy imports are local to the commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.client.ledger.cli import app as ledger_app
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.data.samples import DataSet
    from wardround.common.study import Study

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
StudyArgument = Annotated[str, typer.Argument(help="The study's hash, or its first 8 digits or more.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Registered data set that the study may use; may be repeated; default: the only one."),
]
ReasonOption = Annotated[str, typer.Option(help="Why; the coordinator is told.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

app = typer.Typer(help="What a hospital runs: look after its data sets and private runs.", no_args_is_help=True)
data_app = typer.Typer(help="The hospital's data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")


@data_app.command("check")
def check(
    manifest: Annotated[Path, typer.Argument(help="The manifest (TOML) of the data set.")],
    study: Annotated[Path | None, typer.Option(help="Also check that the data fit this study.")] = None,
    root: Annotated[Path | None, typer.Option(help="Data folder; default: the manifest's own folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Open every image of a data set, refuse what is wrong, and describe what is there.

    Nothing leaves this machine. Details of problems are written beside the manifest, or into the
    current folder where that is read-only.
    """
    chosen = _read_study(study) if study is not None else None
    data = _load(manifest, chosen, root, quiet=as_json)
    report = _report(data, chosen)
    if as_json:
        answer = {"name": data.manifest.name, "study": chosen and chosen.id, "report": report}
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        _show(data, report)


@app.command()
def studies(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the studies that were proposed to this hospital, and what its people decided."""
    from wardround.client.home import open_home
    from wardround.client.listing import list_studies, print_studies

    found = list_studies(open_home(home))
    if as_json:
        typer.echo(json.dumps([entry.as_json() for entry in found], ensure_ascii=False))
    else:
        print_studies(found)


@app.command()
def approve(
    study: StudyArgument,
    by: Annotated[str, typer.Option(help="Name of the person who approves.")],
    second: Annotated[str | None, typer.Option(help="Name of a second person, where policy asks for two.")] = None,
    data: DataOption = None,
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a study asks for, and approve it: from then on it may run here.

    The approval is of this hash alone; a study that is changed by one byte needs a new one. The agent tells the
    coordinator when it is connected.
    """
    from wardround.client.approval import People
    from wardround.client.approval import approve as decide
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal

    at = open_home(home)
    proposal = find_proposal(at, study)
    signed = decide(at, proposal, People(by, second, reason), data=data or [], now=_now())
    if as_json:
        typer.echo(signed.content)
    else:
        typer.echo(f"Approved by {by}: {proposal.study_id}")


@app.command()
def reject(
    study: StudyArgument,
    by: Annotated[str, typer.Option(help="Name of the person who decides.")],
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Reject a study, or withdraw its approval: nothing of it runs here from now on."""
    from wardround.client.approval import People
    from wardround.client.approval import reject as decide
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal

    at = open_home(home)
    signed = decide(at, find_proposal(at, study).study_id, People(by, reason=reason), now=_now())
    if as_json:
        typer.echo(signed.content)
    else:
        typer.echo(f"{json.loads(signed.content)['verdict'].capitalize()} by {by}.")


@app.command()
def leave(
    run: Annotated[str, typer.Argument(help="The study run, as in the name of its file in secagg/.")],
    home: Annotated[Path, typer.Option(help="The hospital's home folder.")],
) -> None:
    """Leave a private study run for good, erase its keys and sealed updates, and free what it never spent.

    For runs that never came to their end, and after records were damaged or restored from a backup. The coordinator
    hears of it when it asks next.
    """
    from wardround.client.home import Home
    from wardround.client.secagg.runs import leave_run
    from wardround.client.spending import settle_run
    from wardround.common.ids import StudyRunId

    leave_run(Home(home), StudyRunId(run))
    settle_run(Home(home), StudyRunId(run))
    typer.echo(f"Left {run}: its keys and sealed updates are erased, and nothing of it is answered any more.")


def _now() -> int:
    return int(datetime.now(UTC).timestamp())


def _read_study(path: Path) -> Study:
    """A study file; the ``[simulation]`` table of a scenario is not part of the study."""
    from wardround.common.study import build_study, parse_toml

    try:
        fields = parse_toml(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise WardroundError("WR-1001", f"The study {path.name!r} cannot be read: {reason}.") from error
    return build_study({key: value for key, value in fields.items() if key != "simulation"})


def _load(manifest: Path, study: Study | None, root: Path | None, *, quiet: bool) -> DataSet:
    from rich.console import Console
    from rich.progress import Progress

    from wardround.client.data.samples import load_data_set

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("Opening images")
        return load_data_set(
            manifest,
            study,
            root=root,
            work_dir=Path.cwd(),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _report(data: DataSet, study: Study | None) -> dict[str, Any]:
    """The data report; with a study also its parts, which must be large enough if the site trains.

    A data set that the study does not name as a site may still be one that only tests.
    """
    from wardround.client.data.checks import check_parts
    from wardround.client.data.report import describe, part_counts
    from wardround.client.data.split import split_patients

    report = describe(data)
    if study is None:
        return report
    parts = split_patients(data.patients, data.strata, study.split)
    report["parts"] = part_counts(data, parts)
    try:
        check_parts(parts, data.patients, study.split)
    except WardroundError as error:
        if data.manifest.name in study.sites:
            raise
        report["warnings"].append(f"can only test, not train: {error.what}")
    return report


def _show(data: DataSet, report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{data.manifest.name}: no problem found", style="bold green", markup=False)
    table = Table("", "patients", "images", title="Data set")
    table.add_row("all", str(report["patients"]), str(report["images"]))
    for kind in ("classes", "parts"):
        table.add_section()
        for name, counts in report.get(kind, {}).items():
            table.add_row(name, *(str(count) for count in counts))
    console.print(table)
    for title, field, form in (("size in voxels", "shape", "{:.0f}"), ("voxel in mm", "spacing_mm", "{:.3g}")):
        axes = report[field] or []
        text = " x ".join("–".join(dict.fromkeys((form.format(low), form.format(high)))) for low, _, high in axes)
        console.print(f"{title}: {text or 'unknown'}", markup=False)
    console.print(f"digest: {report['digest']}", markup=False)
    for warning in report["warnings"]:
        console.print(f"Warning: {warning}", style="yellow", markup=False)
