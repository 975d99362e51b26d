"""The cross-site matrix: every model on every site's test patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.report.figures.style import INK, Picture, canvas, png
from wardround.simulations.report.names import metric_name
from wardround.simulations.report.sourced import decimals

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.lookup import Line


def draw(run: RunFolder) -> list[Picture]:
    """One figure, or none when there are fewer than two sites or models to compare."""
    sites, lines = run.lookup.scored_sites, run.lookup.lines()
    values = np.array([[_value(run, line, site) for site in sites] for line in lines], dtype=np.float64)
    if min(values.shape) < 2 or np.isnan(values).all():
        return []
    figure, (ax,) = canvas(1.1 + 0.42 * len(lines), width=min(9.6, 3.2 + 1.15 * len(sites)))
    name = metric_name(run.lookup.main_metric)
    low, high = _limits(values)
    image = ax.imshow(values, cmap="cividis", aspect="auto", vmin=low, vmax=high)
    ax.set_xticks(range(len(sites)), [f"{site} *" if site in run.lookup.unseen_sites else site for site in sites])
    ax.set_yticks(range(len(lines)), [line.name for line in lines])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("Test patients of:", loc="left", labelpad=8)
    ax.xaxis.set_label_position("top")
    _texts(ax, values, decimals(run.lookup.main_metric))
    figure.colorbar(image, ax=ax, shrink=0.85, label=name)
    starred = " A star marks a hospital that no model was trained on." if run.lookup.unseen_sites else ""
    return [
        Picture(
            "matrix",
            "The same as a picture",
            f"{name} of each model (row) on each hospital's test patients (column); brighter is better, a dash is "
            f"undefined or was not measured.{starred}",
            f"Heat map of {name}, models by hospitals; the same numbers are in the first table of the report.",
            png(figure),
        )
    ]


def _value(run: RunFolder, line: Line, site: str) -> float:
    found = run.lookup.line_metric(line, site)
    return np.nan if found is None or found.row.value is None else found.row.value


def _limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """A colour scale no finer than 0.1, so that noise does not look like a difference."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    middle, half = (low + high) / 2, max(high - low, 0.1) / 2
    return middle - half, middle + half


def _texts(ax: Axes, values: npt.NDArray[np.float64], places: int) -> None:
    middle = np.mean(_limits(values))
    for (row, column), value in np.ndenumerate(values):
        text = "\N{EN DASH}" if np.isnan(value) else f"{value:.{places}f}"
        colour = INK if np.isnan(value) or value > middle else "white"
        ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
