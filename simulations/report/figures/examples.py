"""Cases to look at: the best, the median and the worst of each site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from wardround.simulations.report.figures.style import Picture, blank, canvas, png

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import Example, RunFolder

_TRUTH, _PREDICTION = "#56b4e9", "#f0a000"
_MOST_SITES = 6
_PANEL = 2.7
"""Width of one image in inches."""
_RANKS = ("best", "median", "worst")


def draw(run: RunFolder) -> list[Picture]:
    """One figure of up to three cases a site, for at most six sites; none when no example was kept."""
    sites = [site for site in run.lookup.test_sites if any(item.site == site for item in run.examples)][:_MOST_SITES]
    if not sites:
        return []
    rows = {site: _ranked([item for item in run.examples if item.site == site]) for site in sites}
    columns = max(map(len, rows.values()))
    height = max(_height(case) for cases in rows.values() for _, case in cases)
    figure, axes = canvas(
        (_PANEL * height + 0.5) * len(sites) + 0.3, rows=len(sites), columns=columns, width=_PANEL * columns
    )
    for place, (site, cases) in enumerate(rows.items()):
        line = axes[place * columns : (place + 1) * columns]
        for ax, (rank, case) in zip(line, cases, strict=False):
            _panel(ax, case, site, rank)
        blank(line[len(cases) :])
    segmentation = any(item.truth is not None for item in run.examples)
    if segmentation:
        lines = [
            Line2D([], [], color=_TRUTH, linewidth=2),
            Line2D([], [], color=_PREDICTION, linewidth=2, linestyle="--"),
        ]
        figure.legend(lines, ["reference", "model"], ncols=2, loc="outside upper center")
    return [_picture(sites, png(figure), segmentation=segmentation, volumes=run.study.task.dimensions == 3)]


def _picture(sites: list[str], image: bytes, *, segmentation: bool, volumes: bool) -> Picture:
    where = " The slice with the largest reference area is shown." if volumes else ""
    drawn = (
        "Solid blue: reference. Dashed orange: model."
        if segmentation
        else "Above each image: truth, and the model's score from 0 to 1."
    )
    return Picture(
        "examples",
        "What it looks like",
        f"Test patients of each hospital, from best to worst result. {drawn}{where}",
        f"Example images of {', '.join(sites)}"
        + (" with the outlines of reference and model." if segmentation else "."),
        image,
    )


def _height(case: Example) -> float:
    """Height of the shown plane as a multiple of its width, at most 1.6."""
    rows, columns = _slice(case)[0].shape
    return min(float(rows / columns), 1.6)


def _ranked(cases: list[Example]) -> list[tuple[str, Example]]:
    """Best first, with their names where the run named them best, median and worst."""
    if all(case.dice is not None for case in cases):
        cases = sorted(cases, key=lambda case: -(case.dice or 0.0))
    named = [(next((rank for rank in _RANKS if rank in case.name), ""), case) for case in cases]
    if all(rank for rank, _ in named):
        named.sort(key=lambda item: _RANKS.index(item[0]))
    return named[:3]


def _panel(ax: Axes, case: Example, site: str, rank: str) -> None:
    image, truth, prediction = _slice(case)
    low, high = np.percentile(image, (1, 99))
    ax.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear")
    for mask, colour, style in ((truth, _TRUTH, "-"), (prediction, _PREDICTION, "--")):
        for label in np.unique(mask[mask > 0]) if mask is not None else ():
            assert mask is not None  # noqa: S101  the loop is empty without a mask
            ax.contour(mask == label, levels=[0.5], colors=[colour], linestyles=[style], linewidths=1.4)
    ax.set_title("\n".join(filter(None, (f"{site}: {rank}" if rank else site, _result(case)))), fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def _result(case: Example) -> str:
    if case.dice is not None:
        return f"Dice {case.dice:.3f}"
    if case.score is None:
        return ""
    truth = {1.0: "positive, ", 0.0: "negative, "}.get(case.target if case.target is not None else -1.0, "")
    return f"{truth}score {case.score:.2f}"


def _slice(case: Example) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]:
    """A plane to show: 2D as it is, of a RAS-oriented volume the axial slice with most reference voxels."""
    if case.image.ndim == 2:
        return case.image, case.truth, case.prediction
    mask = case.truth if case.truth is not None and case.truth.any() else case.prediction
    area = np.zeros(case.image.shape[2]) if mask is None else (mask > 0).sum(axis=(0, 1))
    level = int(area.argmax()) if area.any() else case.image.shape[2] // 2

    def axial(volume: npt.NDArray[np.float32 | np.uint8]) -> npt.NDArray[np.float32 | np.uint8]:
        return volume[:, :, level].T[::-1, ::-1]  # anterior up, the patient's right on the reader's left

    planes = [None if part is None else axial(part) for part in (case.image, case.truth, case.prediction)]
    return planes[0], planes[1], planes[2]  # type: ignore[return-value]
