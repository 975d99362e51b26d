"""``wardround hospital report``, ``wardround coordinator report`` and ``wardround demo --deployed``.

Heavy imports are local to the commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
DirOption = Annotated[
    Path, typer.Option("--dir", envvar="WARDROUND_COORDINATOR", help="The coordinator's folder.", show_default=False)
]
OutOption = Annotated[Path, typer.Option(help="The folder to write; new or empty.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def own_report(
    model: Annotated[Path, typer.Argument(help="Model folder of a finished run, as the coordinator hands it out.")],
    out: OutOption,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Score a study's model and one of this hospital alone on its own test patients, and write this hospital's report.

    Nothing leaves this machine. The report holds figures of single patients: keep it as you keep patient data.
    """
    from wardround.client.home import open_home
    from wardround.simulations.deployed.own import write_own_report

    results = write_own_report(open_home(home), model, out)
    if as_json:
        typer.echo(results.model_dump_json(by_alias=True))
    else:
        typer.echo(f"Report: {(out / 'report.html').resolve()}")


def central_report(
    run: Annotated[str, typer.Argument(help="A finished run, as coordinator studies names it.")],
    out: OutOption,
    folder: DirOption,
    as_json: JsonFlag = False,
) -> None:
    """Write the coordinator's report of a finished run: its model, its rounds, and what it does not know and why."""
    from wardround.common.errors import WardroundError
    from wardround.simulations.deployed.central import write_central_report

    place = folder / "runs" / run
    if Path(run).name != run or not place.is_dir():
        raise WardroundError("WR-1923", "There is no such run in the coordinator's folder.")
    if not (place / "model" / "card.json").exists():
        fix = "wardround coordinator watch shows where it is; it has a report when it is over."
        raise WardroundError("WR-1923", f"Run {run} has no model to report yet.", fix=fix)
    results = write_central_report(place, out)
    if as_json:
        typer.echo(json.dumps(results.model_dump(mode="json", by_alias=True), ensure_ascii=False))
    else:
        typer.echo(f"Report: {(out / 'report.html').resolve()}")


def show_demo(data: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Run the deployed demonstration, with every command that people would give on the way."""
    import shlex

    from rich.console import Console

    from wardround.simulations.deployed.demo import demo_scenario, run_demo
    from wardround.simulations.run_folder import free_folder

    console = Console(stderr=True, quiet=as_json, soft_wrap=True, highlight=False)
    scenario, seen = demo_scenario(data), set[int]()

    def told(words: tuple[str, ...]) -> None:
        console.print(f"$ wardround {shlex.join(words)}", markup=False, style="dim")

    def committed(rounds: int, of: int) -> None:
        if rounds not in seen:
            seen.add(rounds)
            console.print(f"round {rounds} of {of}", markup=False)

    console.print(f"{scenario.study.title}\nA coordinator and {len(scenario.study.sites)} hospitals", markup=False)
    shown = run_demo(scenario, data, out or free_folder(Path("runs"), "deployed"), told, committed)
    page, pages = shown.report / "report.html", {site: str(at / "report.html") for site, at in shown.own.items()}
    if as_json:
        answer = {"state": shown.state, "model": shown.model, "report": str(page), "own": pages}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    typer.echo(f"{shown.state}; model {shown.model}\nThe coordinator's report: {page}")
    for site, path in pages.items():
        typer.echo(f"The report of {site}, which stays there: {path}")
