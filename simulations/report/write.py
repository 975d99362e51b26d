"""Write the report of a run: figures and one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.home import write_atomically
from wardround.simulations.report.figures import (
    confusion,
    curves,
    examples,
    histograms,
    matrix,
    overlap,
    partition,
    rates,
    rounds,
)
from wardround.simulations.report.figures.style import look
from wardround.simulations.report.load import load_run
from wardround.simulations.report.page import page

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.report.figures.style import Picture
    from wardround.simulations.report.load import RunFolder

_FAMILIES = (matrix, overlap, rates, partition, rounds, curves, confusion, histograms, examples)
_WITHOUT_CASES = (partition, rounds)


def write_report(run: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished run; both are replaced when they exist.

    Reads the run folder only. The same folder gives the same bytes.

    Returns:
        The path of ``report.html``.

    Raises:
        WardroundError: WR-1550, the run folder is not complete; WR-1551, a file of it is damaged.
    """
    content = load_run(run)
    pictures = draw_figures(content)
    html = page(content, pictures)
    folder = run / "figures"
    folder.mkdir(exist_ok=True)
    for picture in pictures:
        write_atomically(folder / f"{picture.name}.png", picture.png)
    target = run / "report.html"
    write_atomically(target, html.encode())
    return target


def draw_figures(run: RunFolder) -> list[Picture]:
    """Every figure that this run has something to show in, in the order of the report."""
    families = _FAMILIES if len(run.cases) else _WITHOUT_CASES
    with look():
        return [picture for family in families for picture in family.draw(run)]
