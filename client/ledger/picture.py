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
    from collections.abc import Iterable, Sequence
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
_ROOM: Final = 0.06
"""Width after the last event over the width before it."""

_ROOM_FOR_WORDS: Final = 0.12
"""Least width of a limit's line, over the picture's, that its value is written beside."""


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
    layers = [[_cut(_share(moment, study, shown), top) for moment in [*history, history[-1]]] for study in shown]
    colours = [_COLOURS[number % len(_COLOURS)] if study else _REST for number, study in enumerate(shown)]
    labels = [_label(study) + _endless(_share(moment, study, shown) for moment in history) for study in shown]
    if layers:
        axes.stackplot(_places(history), layers, colors=colours, labels=labels, step="post", linewidth=0)


def _draw_lines(axes: Axes, history: Sequence[Moment], top: float) -> None:
    committed = [_cut(moment.committed, top) for moment in [*history, history[-1]]]
    label = "spent and reserved" + _endless(moment.committed for moment in history)
    axes.step(_places(history), committed, where="post", color=_RESERVED, linestyle=":", label=label)
    _draw_limit(axes, history, top)
    restores = [moment.event for moment in history if moment.kind == "restored"]
    for number, event in enumerate(restores):
        label = "restored from backup" if number == 0 else ""
        axes.axvline(event, color=_RESERVED, linewidth=0.8, linestyle="-.", label=label)


def _draw_limit(axes: Axes, history: Sequence[Moment], top: float) -> None:
    """The limit's line, and its value beside it; no line where there is no limit, but words that say so."""
    limits = [_finite_or_nan(moment.limit) for moment in [*history, history[-1]]]
    label = None if all(map(math.isnan, limits)) else "limit"
    axes.step(_places(history), limits, where="post", color=_LIMIT, linestyle="--", linewidth=1.8, label=label)
    span = _end(history) - history[0].event
    for first, after, limit in _limits(history):
        wide = after - first > _ROOM_FOR_WORDS * span
        if limit is None or not (wide or after == _end(history)):
            continue
        endless = math.isinf(limit)
        axes.annotate(
            "no limit" if endless else f"limit {limit:g}",
            (first if wide else after, top if endless else limit),
            (3 if wide else -3, -3 if endless else 3),
            textcoords="offset points",
            ha="left" if wide else "right",
            va="top" if endless else "bottom",
            color=_LIMIT,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )


def _draw_frame(axes: Axes, history: Sequence[Moment], top: float) -> None:
    axes.set_xlim(history[0].event, _end(history))
    axes.set_ylim(0, top)
    axes.set_ylabel("enforced epsilon")
    axes.set_xlabel("events of the ledger, with their dates")
    axes.grid(visible=True, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    chosen = _ticks(history)
    axes.set_xticks([moment.event for moment in chosen], [f"{moment.event}\n{moment.at[:10]}" for moment in chosen])


def _end(history: Sequence[Moment]) -> float:
    """Where the picture ends: after the last event, so that it can be seen what holds since."""
    first, last = history[0].event, history[-1].event
    return last + max(1.0, _ROOM * (last - first))


def _places(history: Sequence[Moment]) -> list[float]:
    """Where the moments stand, the last one twice: where it was, and at the end of the picture."""
    return [*(float(moment.event) for moment in history), _end(history)]


def _limits(history: Sequence[Moment]) -> list[tuple[float, float, float | None]]:
    """For each limit where it begins, where it ends, and its epsilon; None: none was set."""
    begins = [
        number for number, moment in enumerate(history) if number == 0 or moment.limit != history[number - 1].limit
    ]
    places = _places(history)
    ends = [*(places[number] for number in begins[1:]), places[-1]]
    return [(places[number], end, history[number].limit) for number, end in zip(begins, ends, strict=True)]


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
    return 1.12 * max((number for number in numbers if math.isfinite(number)), default=0.0) or 1.0


def _cut(value: float, top: float) -> float:
    """What is infinite ends at the upper end of the scale, and the legend says so."""
    return min(value, top)


def _endless(values: Iterable[float]) -> str:
    return " (infinite)" if any(math.isinf(value) for value in values) else ""


def _finite_or_nan(limit: float | None) -> float:
    return math.nan if limit is None or math.isinf(limit) else limit


def _label(study: str) -> str:
    if study == LOST:
        return "lost in a restore"
    return f"study {study.removeprefix('sha256:')[:8]}" if study else "other studies"


def _ticks(history: Sequence[Moment]) -> list[Moment]:
    """Moments that are named below the picture, so far apart that their dates do not run into one another."""
    apart = (_end(history) - history[0].event) / _TICKS
    chosen = [history[0]]
    for moment in history[1:]:
        if moment.event - chosen[-1].event >= apart:
            chosen.append(moment)
    return chosen
