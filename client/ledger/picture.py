"""A picture of the ledger: what the most burdened patient has borne, study by study, against the limit.

Drawn with matplotlib's objects and the Agg canvas; pyplot and its global state are not used. Studies have the colours
of Tol's "muted" scheme, which people with the common forms of colour blindness tell apart, and lie upon one another
in the order of the legend.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wardround.client.ledger.accounts import LOST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes

    from wardround.client.ledger.accounts import Moment

MOST_POINTS: Final = 400
_COLOURS: Final = (
    "#332288", "#cc6677", "#117733", "#88ccee", "#aa4499", "#999933", "#44aa99", "#882255", "#ddcc77", "#661100",
)  # fmt: skip
_LIMIT: Final = "#d55e00"
_RESERVED: Final = "#555555"
_REST: Final = "#9a9a9a"
_TICKS: Final = 7


def picture(site: str, delta: float, history: Sequence[Moment]) -> bytes:
    """A PNG.

    Args:
        site: Whose ledger.
        delta: At which epsilons are given.
        history: What :func:`~wardround.client.ledger.accounts.moments` gives; one or more.
    """
    with _look():
        figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        top = _height(history)
        _draw_studies(axes, history, top)
        _draw_lines(axes, history, top)
        _draw_frame(axes, history, top)
        axes.set_title(f"{site}: privacy loss of the most burdened patient, at delta {delta:g}")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _look() -> AbstractContextManager[None]:
    """How the picture looks, whatever the hospital's own matplotlib settings are."""
    return mpl.rc_context(
        {
            "font.size": 9.5,
            "text.color": "#222222",
            "text.parse_math": False,
            "axes.labelcolor": "#222222",
            "axes.edgecolor": "#888888",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "legend.frameon": False,
            "legend.fontsize": 8.5,
        }
    )


def _draw_studies(axes: Axes, history: Sequence[Moment], top: float) -> None:
    shown = _shown(history)
    events = [moment.event for moment in history]
    layers = [[_cut(_share(moment, study, shown), top) for moment in history] for study in shown]
    colours = [_COLOURS[number % len(_COLOURS)] if study else _REST for number, study in enumerate(shown)]
    labels = [_label(study) for study in shown]
    if layers:
        axes.stackplot(events, layers, colors=colours, labels=labels, step="post", linewidth=0)


def _draw_lines(axes: Axes, history: Sequence[Moment], top: float) -> None:
    events = [moment.event for moment in history]
    committed = [_cut(moment.committed, top) for moment in history]
    axes.step(events, committed, where="post", color=_RESERVED, linestyle=":", label="spent and reserved")
    limits = [math.nan if moment.limit is None else _cut(moment.limit, top) for moment in history]
    axes.step(events, limits, where="post", color=_LIMIT, linestyle="--", linewidth=1.8, label="limit")
    restores = [moment.event for moment in history if moment.kind == "restored"]
    for number, event in enumerate(restores):
        label = "restored from backup" if number == 0 else None
        axes.axvline(event, color=_RESERVED, linewidth=0.8, linestyle="-.", label=label)


def _draw_frame(axes: Axes, history: Sequence[Moment], top: float) -> None:
    first, last = history[0].event, history[-1].event
    axes.set_xlim(first, max(last, first + 1))
    axes.set_ylim(0, top)
    axes.set_ylabel("enforced epsilon")
    axes.set_xlabel("events of the ledger, with their dates")
    axes.grid(visible=True, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    chosen = [history[round(index)] for index in _evenly(len(history), _TICKS)]
    axes.set_xticks([moment.event for moment in chosen], [f"{moment.event}\n{moment.at[:10]}" for moment in chosen])


def _shown(history: Sequence[Moment]) -> list[str]:
    """Studies with a colour of their own, in order; an empty name for all others."""
    studies = list(dict.fromkeys(study for moment in history for study in moment.shares))
    most = len(_COLOURS)
    return studies if len(studies) <= most else [*studies[: most - 1], ""]


def _share(moment: Moment, study: str, shown: Sequence[str]) -> float:
    if study:
        return moment.shares.get(study, 0.0)
    return sum(share for name, share in moment.shares.items() if name not in shown)


def _height(history: Sequence[Moment]) -> float:
    """Upper end of the scale: a little above everything finite."""
    numbers = [
        number for moment in history for number in (moment.committed, moment.limit or 0.0, sum(moment.shares.values()))
    ]
    return 1.08 * max((number for number in numbers if math.isfinite(number)), default=0.0) or 1.0


def _cut(value: float, top: float) -> float:
    """What is infinite ends at the upper end of the scale."""
    return min(value, top)


def _label(study: str) -> str:
    if study == LOST:
        return "lost in a restore"
    return f"study {study.removeprefix('sha256:')[:8]}" if study else "other studies"


def _evenly(count: int, most: int) -> list[float]:
    points = min(count, most)
    return [index * (count - 1) / max(1, points - 1) for index in range(points)]
