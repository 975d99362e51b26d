"""Image intensities of each site, before and after normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.simulations.report.figures.style import Picture, canvas, png, site_colour, site_dashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder


def draw(run: RunFolder) -> list[Picture]:
    """One figure, or none when the run folder has no histograms."""
    found = {
        site: run.data[site]["histogram"] for site in run.lookup.test_sites if run.data.get(site, {}).get("histogram")
    }
    if not found:
        return []
    figure, (left, right) = canvas(3.0, columns=2)
    for site, histogram in found.items():
        _line(left, run, site, histogram, ("raw_edges", "raw"))
        _line(right, run, site, histogram, ("edges", "normalised"))
    for ax, title, label in (
        (left, "As they come from the scanner", "Intensity (units of the data)"),
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


def _line(ax: Axes, run: RunFolder, site: str, histogram: Mapping[str, Any], keys: tuple[str, str]) -> None:
    edges, counts = (np.asarray(histogram.get(key, []), dtype=np.float64) for key in keys)
    if len(edges) != len(counts) + 1 or counts.sum() == 0:
        return
    density = counts / (counts.sum() * np.diff(edges))
    sites = run.lookup.test_sites
    centres = (edges[:-1] + edges[1:]) / 2
    ax.plot(
        centres, density, linewidth=1.6, label=site, color=site_colour(site, sites), linestyle=site_dashes(site, sites)
    )
