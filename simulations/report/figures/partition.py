"""Who holds what: patients of each site by part, and patients of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.simulations.report.figures.style import PARTS, Picture, canvas, png, site_colour
from wardround.simulations.report.tables_run import parts_of_folds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder

_BAR = 0.62


def draw(run: RunFolder) -> list[Picture]:
    """One figure, or none when the run folder has no data report."""
    sites = [site for site in run.lookup.test_sites if site in run.data]
    if not sites:
        return []
    figure, (left, right) = canvas(max(2.2, 1.0 + 0.42 * len(sites)), columns=2)
    _parts(left, run, sites)
    _classes(right, run, sites)
    unseen = [site for site in run.lookup.unseen_sites if site in sites]
    note = f" {', '.join(unseen)} took no part in training." if unseen else ""
    return [
        Picture(
            "partition",
            "Who holds what",
            "Patients of each hospital. Left: in which part they are; a patient is in one part only. Right: how many "
            f"have each class; a patient can have several.{note}{parts_of_folds(run.lookup)}",
            "Bars of the number of patients in training, validation and test, and of each class, for "
            f"{', '.join(sites)}; the numbers are in the table of the data.",
            png(figure),
        )
    ]


def _parts(ax: Axes, run: RunFolder, sites: list[str]) -> None:
    start = [0.0] * len(sites)
    for part, colour in PARTS.items():
        counts = [float(run.data[site].get("parts", {}).get(part, [0, 0])[0]) for site in sites]
        bars = ax.barh(sites, counts, _BAR, left=start, color=colour, edgecolor="#555555", linewidth=0.5, label=part)
        most = max(map(sum, zip(start, counts, strict=True)), default=1)
        texts = [f"{count:.0f}" if count > 0.05 * most else "" for count in counts]
        ax.bar_label(bars, texts, label_type="center", color="white" if part == "train" else "#222222", fontsize=8.5)
        start = [a + b for a, b in zip(start, counts, strict=True)]
    ax.invert_yaxis()
    ax.set_title("Patients by part")
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=8.5)
    ax.tick_params(length=0)
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.set_xticks([])


def _classes(ax: Axes, run: RunFolder, sites: list[str]) -> None:
    labels = list(dict.fromkeys(label for site in sites for label in run.data[site].get("classes", {})))
    if not labels:
        ax.set_visible(False)
        return
    step = _BAR / len(sites)
    everywhere = run.lookup.test_sites
    for place, site in enumerate(sites):
        counts = [float(run.data[site].get("classes", {}).get(label, [0, 0])[0]) for label in labels]
        heights = [row + (place - (len(sites) - 1) / 2) * step for row in range(len(labels))]
        bars = ax.barh(heights, counts, step * 0.9, color=site_colour(site, everywhere), label=site)
        if len(labels) * len(sites) <= 24:
            ax.bar_label(bars, [f"{count:.0f}" for count in counts], padding=3, fontsize=8.5)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set_title("Patients by class")
    ax.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=8.5)
    ax.tick_params(length=0)
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.set_xticks([])
