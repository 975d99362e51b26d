"""Dice of every test patient, by arm and site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.report.figures.style import INK, Picture, arm_colour, blank, canvas, grid_size, png
from wardround.simulations.report.names import arm_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder

_BOX_FROM = 5
"""Fewer patients than this are drawn as points only."""


def draw(run: RunFolder) -> list[Picture]:
    """One figure of a segmentation, one panel a site."""
    if run.study.task.kind != "segmentation":
        return []
    sites, arms = run.lookup.test_sites, run.results.arms
    means = run.cases.groupby(["arm", "test_site", "patient"], sort=False)["dice"].mean().dropna()
    rows, columns = grid_size(len(sites), 3)
    figure, axes = canvas(rows * (1.0 + 0.34 * len(arms)), rows=rows, columns=columns, sharex=True, sharey=True)
    for ax, site in zip(axes, sites, strict=False):
        values = [_patients(means, arm, site) for arm in arms]
        _panel(ax, values, arms)
        ax.set_title(site)
    blank(axes[len(sites) :])
    return [
        Picture(
            "dice",
            "Dice, patient by patient",
            "Each dot is one test patient (mean over structures, seeds and folds). The box holds the middle half of the "
            f"patients, its line is the median; below {_BOX_FROM} patients no box is drawn. 1 is perfect overlap with the "
            "reference.",
            f"Box plots of Dice per patient for each model at {', '.join(sites)}.",
            png(figure),
        )
    ]


def _patients(means: object, arm: str, site: str) -> npt.NDArray[np.float64]:
    index = means.index  # type: ignore[attr-defined]
    chosen = (index.get_level_values("arm") == arm) & (index.get_level_values("test_site") == site)
    return np.asarray(means[chosen], dtype=np.float64)  # type: ignore[index]


def _panel(ax: Axes, values: Sequence[npt.NDArray[np.float64]], arms: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    for place, (arm, dice) in enumerate(zip(arms, values, strict=True)):
        if len(dice) >= _BOX_FROM:
            box = ax.boxplot(
                [dice], positions=[place], widths=0.62, orientation="horizontal", showfliers=False, patch_artist=True
            )
            box["boxes"][0].set(facecolor=arm_colour(arm), alpha=0.3, edgecolor=arm_colour(arm))
            box["medians"][0].set(color=INK, linewidth=1.6)
        spread = rng.uniform(-0.16, 0.16, len(dice)) if len(dice) > 1 else np.zeros(len(dice))
        ax.plot(
            dice, place + spread, ".", color=arm_colour(arm), markersize=4 if len(dice) >= _BOX_FROM else 9, alpha=0.8
        )
    ax.set_yticks(range(len(arms)), [arm_name(arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.set_xlabel("Dice")
    ax.grid(visible=True, axis="x")
    ax.tick_params(axis="y", length=0)
