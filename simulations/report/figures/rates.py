"""Sensitivity and specificity of every arm at every site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.report.figures.style import INK, PALE, WIDTH, Picture, arm_colour, canvas, png
from wardround.simulations.report.names import CENTRALISED, FEDERATED, LOCAL, POOLED_WITHOUT, WITHOUT, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.lookup import FoundMetric

_RATES = ("sensitivity", "specificity")
_ONE_SITE = 5.6
"""Width of a figure of one hospital."""


def draw(run: RunFolder) -> list[Picture]:
    """One figure of a classification."""
    if run.study.task.kind != "classification" or not run.lookup.scored_sites:
        return []
    sites = run.lookup.scored_sites
    figure, axes = canvas(5.0, rows=2, shared=True, width=WIDTH if len(sites) > 1 else _ONE_SITE)
    for ax, rate in zip(axes, _RATES, strict=True):
        _bars(ax, run, sites, rate)
    axes[-1].set_xticks(range(len(sites)), sites)
    axes[-1].set_xlim(-0.5, len(sites) - 0.5)  # also where the last hospital has no bar
    threshold = run.study.evaluation.threshold
    return [
        Picture(
            "rates",
            "Found and falsely found",
            f"Sensitivity (share of positive images that are found) and specificity (share of negative images that are "
            f"left alone) at a probability of {threshold:g} or more, with 95% intervals where there are any. “Own” is "
            "the hospital's own model; where a bar is missing, there is no such model or its value is undefined.",
            f"Bars of sensitivity and specificity of each model at {', '.join(sites)}.",
            png(figure),
        )
    ]


def _bars(ax: Axes, run: RunFolder, sites: Sequence[str], rate: str) -> None:
    series = _series(run, sites)
    step = 0.8 / max(len(series), 1)
    for place, (name, arms) in enumerate(series.items()):
        found = [run.lookup.metric(arm, site, rate) if arm else None for arm, site in zip(arms, sites, strict=True)]
        across = [column + (place - (len(series) - 1) / 2) * step for column in range(len(sites))]
        colour = arm_colour(next(arm for arm in arms if arm))
        values = [np.nan if item is None or item.row.value is None else item.row.value for item in found]
        ax.bar(across, values, step * 0.9, color=colour, label=name)
        for x, item in zip(across, found, strict=True):
            _whisker(ax, x, item)
    ax.set_ylim(0, 1)
    ax.set_ylabel(metric_name(rate))
    ax.grid(visible=True, axis="y")
    ax.tick_params(axis="x", length=0)
    if rate == _RATES[0]:
        ax.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8.5)


def _series(run: RunFolder, sites: Sequence[str]) -> dict[str, list[str | None]]:
    """Bars by name: for each site the arm that stands there."""
    arms = run.results.arms
    series: dict[str, list[str | None]] = {
        "Federated": [FEDERATED if FEDERATED in arms else None for _ in sites],
        "All data pooled": [CENTRALISED if CENTRALISED in arms else None for _ in sites],
        "Own": [LOCAL + site if LOCAL + site in arms else None for site in sites],
        "Pooled without it": [POOLED_WITHOUT + site if POOLED_WITHOUT + site in arms else None for site in sites],
        "Federated without it": [WITHOUT + site if WITHOUT + site in arms else None for site in sites],
    }
    return {name: row for name, row in series.items() if any(row)}


def _whisker(ax: Axes, x: float, found: FoundMetric | None) -> None:
    if found is None or found.row.ci95 is None:
        return
    low, high = found.row.ci95
    ax.plot([x, x], [low, high], color=INK, linewidth=1.2)
    ax.plot([x, x], [low, high], color=PALE, linestyle="none", marker="_", markersize=5, markeredgecolor=INK)
