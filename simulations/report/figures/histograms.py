"""Image intensities of each site, before and after normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.simulations.report.figures.style import Picture, canvas, png, site_colour, site_dashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder


_APART = 20.0
_RAW = "Intensity (units of the data)"


def draw(run: RunFolder) -> list[Picture]:
    """One figure, or none when the run folder has no histograms."""
    found = {
        site: run.data[site]["histogram"] for site in run.lookup.test_sites if run.data.get(site, {}).get("histogram")
    }
    if not found:
        return []
    figure, (left, right) = canvas(3.0, columns=2)
    apart = _scales_apart(found)
    for site, histogram in found.items():
        _line(left, run, site, histogram, ("raw_edges", "raw"), own_scale=apart)
        _line(right, run, site, histogram, ("edges", "normalised"))
    for ax, title, label in (
        (left, "As they come from the scanner", "Intensity, 1 = hospital's largest" if apart else _RAW),
        (right, "As the model sees them", f"Intensity after {run.study.input.normalisation} normalisation"),
    ):
        ax.set_title(title)
        ax.set_xlabel(label)
        ax.set_ylabel("Density")
        ax.set_yticks([])
        ax.set_ylim(bottom=0)
    right.legend(fontsize=8.5)
    return [
        Picture(
            "histograms",
            "How the images differ between hospitals",
            "Distribution of image intensities of each hospital. Curves that lie apart on the left and together on the "
            "right differ by their scanners' scale only, which the normalisation of each image removes.",
            f"Intensity histograms of {', '.join(found)}, before and after normalisation.",
            png(figure),
        )
    ]


def _scales_apart(found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether one axis cannot show all hospitals: their largest intensities differ more than twentyfold."""
    largest = [max(map(abs, histogram["raw_edges"])) for histogram in found.values() if histogram.get("raw_edges")]
    return bool(largest) and max(largest) > _APART * min(largest)


def _line(
    ax: Axes,
    run: RunFolder,
    site: str,
    histogram: Mapping[str, Any],
    keys: tuple[str, str],
    *,
    own_scale: bool = False,
) -> None:
    edges, counts = (np.asarray(histogram.get(key, []), dtype=np.float64) for key in keys)
    if len(edges) != len(counts) + 1 or counts.sum() == 0:
        return
    if own_scale:
        edges /= np.abs(edges).max()
    density = counts / (counts.sum() * np.diff(edges))
    sites = run.lookup.test_sites
    centres = (edges[:-1] + edges[1:]) / 2
    ax.plot(
        centres, density, linewidth=1.6, label=site, color=site_colour(site, sites), linestyle=site_dashes(site, sites)
    )
