"""Confusion matrices of the reported model at every site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.report.figures.style import INK, WIDTH, Picture, blank, canvas, grid_size, png
from wardround.simulations.report.names import FEDERATED, WITHOUT

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder

_MOST_LABELS = 4
"""Two-by-two matrices are drawn for this many labels at most."""


def draw(run: RunFolder) -> list[Picture]:
    """One figure of a classification: K by K for classes that exclude each other, else two by two a label."""
    if run.study.task.kind != "classification" or not run.lookup.scored_sites:
        return []
    if run.study.task.target == "multiclass":
        return _multiclass(run)
    labels = run.study.task.labels[:_MOST_LABELS]
    sites = run.lookup.scored_sites
    columns = min(len(sites), 4)
    rows = len(labels) * grid_size(len(sites))[0]
    figure, axes = canvas(2.3 * rows, rows=rows, columns=columns, width=min(WIDTH, 4.8 * columns))
    panels = [(label, site) for label in labels for site in sites]
    for ax, (label, site) in zip(axes, panels, strict=False):
        cases = _model_cases(run, site)
        counts = _two_by_two(cases[cases["label"] == label])
        _panel(ax, counts, [f"no {label}", label] if len(labels) > 1 else ["negative", "positive"])
        ax.set_title(f"{site}: {label}" if len(labels) > 1 else site)
    blank(axes[len(panels) :])
    return [_picture(run, png(figure), " by label" if len(labels) > 1 else "")]


def _multiclass(run: RunFolder) -> list[Picture]:
    sites, labels = run.lookup.scored_sites, list(run.study.task.labels)
    rows, columns = grid_size(len(sites), 3)
    side = 0.9 + 0.45 * len(labels)
    width = min(WIDTH, 4.8 * columns)
    figure, axes = canvas(rows * max(2.2, side), rows=rows, columns=columns, width=width)
    for ax, site in zip(axes, sites, strict=False):
        _panel(ax, _classes(_model_cases(run, site), labels), labels)
        ax.set_title(site)
    blank(axes[len(sites) :])
    return [_picture(run, png(figure), " by class")]


def _picture(run: RunFolder, image: bytes, by: str) -> Picture:
    model = "federated model" if run.lookup.has_federated else "federation without the hospital"
    return Picture(
        "confusion",
        "Right and wrong decisions",
        f"Test images of each hospital{by}, sorted by truth (row) and by the decision of the {model} (column). Darker: "
        "a larger share of the row. An image counts once for every model of the run that was tested on it: once a "
        "seed, and at hospitals never trained on once a fold too.",
        f"Confusion matrices of the {model} at {', '.join(run.lookup.scored_sites)}.",
        image,
    )


def _model_cases(run: RunFolder, site: str) -> pd.DataFrame:
    arm = FEDERATED if run.lookup.has_federated else WITHOUT + site
    return run.cases[(run.cases["arm"] == arm) & (run.cases["test_site"] == site)]


def _two_by_two(cases: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Counts [truth, decision]."""
    cell = 2 * cases["truth"].to_numpy(dtype=np.int64) + cases["predicted"].to_numpy(dtype=np.int64)
    return np.bincount(cell, minlength=4).reshape(2, 2)


def _classes(cases: pd.DataFrame, labels: list[str]) -> npt.NDArray[np.int64]:
    """Counts [true class, chosen class] from one row a sample and class."""
    keys = ["seed", "fold", "sample"]
    chosen = [cases[cases[column] == 1].set_index(keys)["label"] for column in ("truth", "predicted")]
    truth, predicted = (rows.map({label: place for place, label in enumerate(labels)}) for rows in chosen)
    both = truth.to_frame("truth").join(predicted.to_frame("predicted"), how="inner").astype(np.int64)
    cell = (len(labels) * both["truth"] + both["predicted"]).to_numpy(dtype=np.int64)
    return np.bincount(cell, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def _panel(ax: Axes, counts: npt.NDArray[np.int64], names: list[str]) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.6 else INK
        ax.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=11)
    ax.set_xticks(range(len(names)), names, rotation=0 if len(names) < 4 else 40)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("decision", fontsize=8.5)
    ax.set_ylabel("truth", fontsize=8.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
