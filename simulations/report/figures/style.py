"""How every figure looks: fonts, colours, sizes, and how it becomes a PNG.

Colours are fixed: an arm has the same colour in every figure, and so has a site. They are told apart
with the common forms of colour blindness (arms: Okabe and Ito 2008; sites: Tol's "muted" scheme), and
lines differ by dashes as well. Figures are drawn with matplotlib's objects and the Agg canvas; pyplot and
its global state are not used. Text in Chinese, Japanese or Korean uses the font that comes with the package.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wardround.simulations.report.names import CENTRALISED, FEDERATED, LOCAL, POOLED_WITHOUT, WITHOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

WIDTH: Final = 9.6
"""Width of a full figure in inches: 960 CSS pixels at 100 pixels an inch."""

DPI: Final = 150

FONT_FILE: Final = "DroidSansFallback.ttf"

_PACKAGE: Final = "wardround.simulations.report"

INK: Final = "#222222"
GRID: Final = "#dddddd"
PALE: Final = "#c9c9c9"

_ARMS: Final = {
    FEDERATED: "#0072b2",
    CENTRALISED: "#4d4d4d",
    LOCAL: "#d55e00",
    WITHOUT: "#009e73",
    POOLED_WITHOUT: "#9a9a9a",
}
_SITES: Final = (
    "#332288", "#cc6677", "#117733", "#88ccee", "#aa4499", "#999933", "#44aa99", "#882255", "#ddcc77", "#661100",
)  # fmt: skip
_DASHES: Final = ("-", "--", "-.", ":")
PARTS: Final = {"train": "#5b6f82", "validation": "#9fb1c1", "test": "#dfe6ec"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One finished figure.

    Attributes:
        name: File name without its ending.
        title: Heading in the report.
        caption: What to look at and how to read it.
        alt: What a reader who cannot see it needs to know.
        png: The image.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes


def arm_colour(arm: str) -> str:
    """The arm's colour; all arms of one site alone share one, likewise all leave-one-out arms."""
    return next((colour for kind, colour in _ARMS.items() if arm.startswith(kind)), INK)


def site_colour(site: str, sites: Sequence[str]) -> str:
    """The site's colour, by its place among the run's test sites."""
    return _SITES[sites.index(site) % len(_SITES)]


def site_dashes(site: str, sites: Sequence[str]) -> str:
    """The site's line style, by its place among the run's test sites."""
    return _DASHES[sites.index(site) % len(_DASHES)]


@cache
def _register_font() -> None:
    with as_file(files(_PACKAGE) / "fonts" / FONT_FILE) as path:
        font_manager.fontManager.addfont(path)


@contextmanager
def look() -> Iterator[None]:
    """Draw and save figures inside this, so that they all look alike and find their fonts."""
    _register_font()
    with as_file(files(_PACKAGE) / "templates" / "figures.mplstyle") as path, mpl.rc_context(fname=path):
        yield


def canvas(
    height: float, *, rows: int = 1, columns: int = 1, width: float = WIDTH, shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of axes, row by row; ``height`` in inches; ``shared`` gives all the same scales."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
    return figure, list(axes.ravel())


def blank(axes: Sequence[Axes]) -> None:
    """Hide axes of a grid that have nothing to show."""
    for ax in axes:
        ax.set_visible(False)


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a time stamp: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 6})
    return buffer.getvalue()


def grid_size(count: int, most_columns: int = 4) -> tuple[int, int]:
    """Rows and columns for ``count`` small axes."""
    columns = min(count, most_columns)
    return -(-count // columns), columns
