"""ROC and calibration curves, one panel a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.common.metrics.curves import calibration_curve, roc_band
from wardround.simulations.report.figures.style import (
    GRID,
    Picture,
    arm_colour,
    blank,
    canvas,
    grid_size,
    png,
    site_colour,
)
from wardround.simulations.report.names import CENTRALISED, FEDERATED, LOCAL, WITHOUT, arm_name
from wardround.simulations.statistics.cases import scored_cases

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from wardround.common.metrics.curves import Curve
    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.statistics.cases import Scored

_RESAMPLES = 500
"""Resamples of a band: it is drawn, not quoted."""

_MOST_LABELS = 4


def draw(run: RunFolder) -> list[Picture]:
    """A ROC and a calibration figure of a classification."""
    if run.study.task.kind != "classification":
        return []
    scored = scored_cases(run.cases, run.study, run.results.arms, run.lookup.test_sites)
    return [*_roc(run, scored), *_calibration(run, scored)]


def _panels(run: RunFolder) -> list[tuple[str, int, str]]:
    """Site, label position and title of each panel."""
    labels = run.study.task.labels[:_MOST_LABELS]
    sites = run.lookup.test_sites
    return [
        (site, place, f"{site}: {label}" if len(labels) > 1 else site)
        for place, label in enumerate(labels)
        for site in sites
    ]


def _reported(run: RunFolder, site: str) -> str:
    return FEDERATED if run.lookup.has_federated else WITHOUT + site


def _roc(run: RunFolder, scored: dict[tuple[str, str], Scored]) -> list[Picture]:
    panels = _panels(run)
    drawn = [panel for panel in panels if (_reported(run, panel[0]), panel[0]) in scored]
    if not drawn:
        return []
    rows, columns = grid_size(len(drawn))
    figure, axes = canvas(2.85 * rows + 0.3, rows=rows, columns=columns, shared=True)
    for ax, (site, label, title) in zip(axes, drawn, strict=False):
        _roc_panel(ax, run, scored, site, label)
        ax.set_title(title)
    blank(axes[len(drawn) :])
    handles = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), ncols=5, loc="outside upper center")
    return [
        Picture(
            "roc",
            "ROC curves",
            "Share of positive images found (up) against share of negative images falsely called positive (right), "
            "over all thresholds; the closer to the upper left corner, the better. Shaded: 95% bootstrap band of the "
            "federated curve, patients resampled whole.",
            f"ROC curves of the models at {', '.join(dict.fromkeys(site for site, _, _ in drawn))}.",
            png(figure),
        )
    ]


def _roc_panel(ax: Axes, run: RunFolder, scored: dict[tuple[str, str], Scored], site: str, label: int) -> None:
    ax.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    ax.set_xlabel("1 \N{MINUS SIGN} specificity")
    ax.set_ylabel("Sensitivity")
    names = {_reported(run, site): None, CENTRALISED: None, LOCAL + site: "The hospital alone"}
    for arm, name in names.items():
        if (arm, site) not in scored:
            continue
        curve = _curve(scored[arm, site], label, resamples=_RESAMPLES if arm == _reported(run, site) else 1)
        if curve is None:
            ax.text(0.5, 0.5, "undefined:\none class only", ha="center", va="center", fontsize=9)
            return
        if arm == _reported(run, site):
            ax.fill_between(curve.x, curve.low, curve.high, color=arm_colour(arm), alpha=0.15, linewidth=0)
        style = "--" if arm == CENTRALISED else "-"
        shown = name or ("Federated without the hospital" if arm.startswith(WITHOUT) else arm_name(arm))
        ax.plot(curve.x, curve.y, style, color=arm_colour(arm), linewidth=1.7, label=shown)


def _curve(of: Scored, label: int, resamples: int) -> Curve | None:
    scores = of.columns["score"][:, label]
    return roc_band(of.truth[label], scores, of.cluster, np.random.default_rng(0), resamples)


def _calibration(run: RunFolder, scored: dict[tuple[str, str], Scored]) -> list[Picture]:
    sites = [site for site in run.lookup.test_sites if (_reported(run, site), site) in scored]
    if not sites:
        return []
    panels = [panel for panel in _panels(run) if panel[0] in sites]
    rows, columns = grid_size(len(panels))
    figure, axes = canvas(2.85 * rows, rows=rows, columns=columns, shared=True)
    for ax, (site, label, title) in zip(axes, panels, strict=False):
        _calibration_panel(ax, run, scored[_reported(run, site), site], site, label)
        ax.set_title(title)
    blank(axes[len(panels) :])
    return [
        Picture(
            "calibration",
            "Can the probabilities be believed?",
            "Images grouped by the probability that the model gave them (right), and how many of them were truly "
            "positive (up). On the diagonal the probabilities can be taken at their word; below it they are too "
            "high, above it too low. At a hospital with one class only, the dots lie on the edge whatever the model "
            "says. Larger dots hold more images; bars are 95% bootstrap intervals.",
            f"Calibration curves at {', '.join(sites)}.",
            png(figure),
        )
    ]


def _calibration_panel(ax: Axes, run: RunFolder, of: Scored, site: str, label: int) -> None:
    scores = of.columns["score"][:, label]
    curve = calibration_curve(of.truth[label], scores, of.cluster, np.random.default_rng(0), _RESAMPLES)
    colour = site_colour(site, run.lookup.test_sites)
    ax.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    ax.vlines(curve.x, curve.low, curve.high, color=colour, linewidth=1, alpha=0.6)
    ax.plot(curve.x, curve.y, color=colour, linewidth=1.3)
    ax.scatter(curve.x, curve.y, s=12 + 160 * curve.images / curve.images.sum(), color=colour, clip_on=False, zorder=3)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    ax.set_xlabel("Predicted probability")
    ax.set_ylabel("Truly positive")
