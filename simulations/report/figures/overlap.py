"""Dice of every test patient, by arm and site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.report.figures.style import INK, Picture, arm_colour, blank, canvas, grid_size, png

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from wardround.common.metrics.outcome import Floats
    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.lookup import Line

_BOX_FROM = 5
"""Fewer patients than this are drawn as points only."""


def draw(run: RunFolder) -> list[Picture]:
    """One figure of a segmentation, one panel a site."""
    if run.study.task.kind != "segmentation" or not run.lookup.scored_sites:
        return []
    sites, lines = run.lookup.scored_sites, run.lookup.lines()
    means = run.cases.groupby(["arm", "test_site", "patient"], sort=False)["dice"].mean().dropna()
    rows, columns = grid_size(len(sites), 3)
    figure, axes = canvas(rows * (1.0 + 0.34 * len(lines)), rows=rows, columns=columns, shared=True)
    for ax, site in zip(axes, sites, strict=False):
        values = [_patients(means, line, site) for line in lines]
        _panel(ax, values, lines, site)
        ax.set_title(site)
    blank(axes[len(sites) :])
    return [
        Picture(
            "dice",
            "Dice, patient by patient",
            "Each dot is one test patient (mean over structures, seeds and folds). The box holds the middle half of "
            f"the patients, its line is the median; below {_BOX_FROM} patients no box is drawn. 1 is perfect overlap "
            "with the reference.",
            f"Box plots of Dice per patient for each model at {', '.join(sites)}.",
            png(figure),
        )
    ]


def _patients(means: pd.Series[float], line: Line, site: str) -> Floats:
    """Dice of the site's patients by the line's arm: [patients]."""
    index = means.index
    chosen = (index.get_level_values("arm") == line.arms.get(site)) & (index.get_level_values("test_site") == site)
    return np.asarray(means[chosen], dtype=np.float64)


def _panel(ax: Axes, values: Sequence[Floats], lines: Sequence[Line], site: str) -> None:
    rng = np.random.default_rng(0)
    for place, (line, dice) in enumerate(zip(lines, values, strict=True)):
        colour = arm_colour(line.arms.get(site, ""))
        many = len(dice) >= _BOX_FROM
        if many:
            _box(ax, dice, place, colour)
        spread = rng.uniform(-0.16, 0.16, len(dice)) if len(dice) > 1 else np.zeros(len(dice))
        ax.plot(dice, place + spread, ".", color=colour, markersize=4 if many else 9, alpha=0.8)
    ax.set_yticks(range(len(lines)), [line.name for line in lines])
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.set_xlabel("Dice")
    ax.grid(visible=True, axis="x")
    ax.tick_params(axis="y", length=0)


def _box(ax: Axes, dice: Floats, place: int, colour: str) -> None:
    box = ax.boxplot(
        [dice], positions=[place], widths=0.62, orientation="horizontal", showfliers=False, patch_artist=True
    )
    box["boxes"][0].set(facecolor=colour, alpha=0.3, edgecolor=colour)
    box["medians"][0].set(color=INK, linewidth=1.6)
