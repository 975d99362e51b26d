"""``wardround hospital data``: the hospital's data sets. Heavy imports are local to the commands."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wardround.client.data.samples import DataSet
    from wardround.client.home import RegisteredData
    from wardround.common.study import Study

app = typer.Typer(help="The hospital's data sets.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
RootOption = Annotated[Path | None, typer.Option(help="Data folder; default: the manifest's own folder.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

_HASH: Final = re.compile(r"(sha256:)?[0-9a-fA-F]{8,64}")


@app.command()
def add(
    manifest: Annotated[Path, typer.Argument(help="The manifest (TOML) of the data set.")],
    root: RootOption = None,
    name: Annotated[str | None, typer.Option(help="What to call it here; default: as the manifest does.")] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a data set and register it, or register it anew after its manifest was changed.

    Nothing leaves this machine.
    """
    from wardround.client.data.registry import register
    from wardround.client.home import open_home

    at = open_home(home)
    with _progress(quiet=as_json) as told:
        item, data = register(at, manifest, root=root, name=name, progress=told)
    report = _report(data, None)
    if as_json:
        typer.echo(json.dumps({"data": _fields(item), "report": report}, ensure_ascii=False))
        return
    _show(data, report)
    typer.echo(f"Registered as {item.name}.")


@app.command("list")
def list_data(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the registered data sets, and whether their manifests are still as they were registered."""
    from wardround.client.home import open_home

    items = [_fields(item) for item in open_home(home).settings.data]
    if as_json:
        typer.echo(json.dumps(items, ensure_ascii=False))
    else:
        _show_list(items)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The data set, as data list names it.")], home: HomeOption = None
) -> None:
    """Forget a data set; studies that use it are refused from now on.

    Its files are left alone, and the privacy ledger keeps what was spent on its patients.
    """
    from wardround.client.data.registry import unregister
    from wardround.client.home import open_home

    unregister(open_home(home), name)
    typer.echo(f"{name} is not registered any more. Its files are left alone, and the ledger keeps what was spent.")


@app.command()
def check(
    manifest: Annotated[
        Path, typer.Argument(help="The manifest (TOML) of the data set, or the hash of a study that was proposed.")
    ],
    study: Annotated[Path | None, typer.Option(help="Also check that the data fit this study.")] = None,
    root: RootOption = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="With a hash: the registered data set; may be repeated.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Open every image of a data set, refuse what is wrong, and describe what is there.

    With the hash of a study: the registered data sets that it would use, checked for that study. Nothing leaves this
    machine. Details of problems are written beside the manifest, or into the current folder where that is read-only.
    """
    if _HASH.fullmatch(str(manifest)) and not manifest.exists():
        if study is not None or root is not None:
            raise typer.BadParameter("--study and --root belong to a manifest, not to a hash")
        fits, places = _proposed(str(manifest), data or [], home)
    else:
        fits, places = None if study is None else _read_study(study), [(manifest, root)]
    for path, folder in places:
        found = _load(path, fits, folder, quiet=as_json)
        report = _report(found, fits)
        if as_json:
            answer = {"name": found.manifest.name, "study": fits and fits.id, "report": report}
            typer.echo(json.dumps(answer, ensure_ascii=False))
        else:
            _show(found, report)


def _proposed(text: str, names: list[str], home: Path | None) -> tuple[Study | None, list[tuple[Path, Path | None]]]:
    """A proposed study, and manifest and folder of the data sets that it would use."""
    from wardround.client.data.registry import check_unchanged, choose_data
    from wardround.client.home import open_home
    from wardround.client.proposals import find_proposal

    at = open_home(home)
    study = find_proposal(at, text).read_study()
    items = choose_data(at.settings, names or at.names_of(study.id))
    for item in items:
        check_unchanged(item)
    return study, [(item.manifest, item.root) for item in items]


def _read_study(path: Path) -> Study:
    """A study file; the ``[simulation]`` table of a scenario is not part of the study."""
    from wardround.common.study import build_study, parse_toml

    try:
        fields = parse_toml(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise WardroundError("WR-1001", f"The study {path.name!r} cannot be read: {reason}.") from error
    return build_study({key: value for key, value in fields.items() if key != "simulation"})


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("Opening images")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _load(manifest: Path, study: Study | None, root: Path | None, *, quiet: bool) -> DataSet:
    from wardround.client.data.samples import load_data_set

    with _progress(quiet=quiet) as told:
        return load_data_set(manifest, study, root=root, work_dir=Path.cwd(), progress=told)


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


def _fields(item: RegisteredData) -> dict[str, Any]:
    """A registered data set for ``--json``, with what is wrong with its manifest now."""
    from wardround.client.data.registry import check_unchanged

    problem = None
    try:
        check_unchanged(item)
    except WardroundError as error:
        problem = str(error)
    return {**item.model_dump(mode="json"), "problem": problem}


def _show_list(items: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not items:
        console.print("No data set is registered: wardround hospital data add MANIFEST.toml")
        return
    table = Table(box=SIMPLE)
    for heading in ("name", "patients", "images", "manifest", ""):
        table.add_column(heading, no_wrap=heading in {"patients", "images"}, overflow="fold")
    for item in items:
        numbers = ("unknown" if item[field] is None else str(item[field]) for field in ("patients", "images"))
        state = Text(item["problem"], style="red") if item["problem"] else Text("as registered")
        table.add_row(Text(item["name"] or "–"), *numbers, Text(item["manifest"]), state)
    console.print(table)


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
