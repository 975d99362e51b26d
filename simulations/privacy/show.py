"""A curve as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from wardround.client.statement.question import count
from wardround.simulations.report.names import metric_name

if TYPE_CHECKING:
    from wardround.simulations.privacy.curves import CurvePoint, Curves, CurveValue


def show_curves(curves: Curves) -> None:
    """The mean over hospitals of each point, then hospital by hospital; 80 columns suffice."""
    name, seeds = metric_name(curves.metric), count(len(curves.seeds), "seed")
    table = Table(title=f"{curves.study.name}: mean {name} of the training hospitals, {seeds}", box=SIMPLE)
    for heading in ("trust", "epsilon", "noise", name, "worst to\nbest seed", "of no\npromise"):
        table.add_column(heading, justify="left" if heading == "trust" else "right", no_wrap=True)
    for point in curves.points:
        value = curves.value(point.point, "mean")
        table.add_row(*_names(point), _noise(point), _mean(value), _spread(value), _share(value))
    Console().print(table)
    if len(curves.seeds) == 1:
        Console().print("One seed: trainings with another one differ, often by more than the rows do.", highlight=False)
    mean = curves.value(curves.points[-1].point, "mean")
    if mean is not None and mean.reason:
        Console().print(f"Mean: {mean.reason}", markup=False, highlight=False)
    _show_sites(curves)


def _show_sites(curves: Curves) -> None:
    sites = list(dict.fromkeys(row.test_site for row in curves.values if row.test_site != "mean"))
    table = Table(title=f"{metric_name(curves.metric)} on the test patients of", box=SIMPLE)
    for heading in ("trust", "epsilon", *sites):
        table.add_column(heading, justify="left" if heading == "trust" else "right", overflow="fold")
    for point in curves.points:
        table.add_row(*_names(point), *(_mean(curves.value(point.point, site)) for site in sites))
    Console().print(table)


def _names(point: CurvePoint) -> tuple[str, str]:
    return point.trust or "no promise", _epsilon(point)


def _epsilon(point: CurvePoint) -> str:
    if point.epsilon is None:
        return "–"
    return point.epsilon if isinstance(point.epsilon, str) else f"{point.epsilon:g}"


def _noise(point: CurvePoint) -> str:
    return "–" if point.noise_multiplier is None else f"{point.noise_multiplier:g}"


def _mean(value: CurveValue | None) -> str:
    return "–" if value is None or value.mean is None else f"{value.mean:.3f}"


def _spread(value: CurveValue | None) -> str:
    if value is None or value.low is None or value.high is None:
        return "–"
    return f"{value.low:.3f} to {value.high:.3f}"


def _share(value: CurveValue | None) -> str:
    return "–" if value is None or value.of_reference is None else f"{value.of_reference:.2f}"
