"""The figure of a curve: the main metric against epsilon, by trust model, with the line of no promise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from matplotlib.ticker import NullLocator

from wardround.simulations.privacy.points import REFERENCE, TRUSTS, size
from wardround.simulations.report.figures.style import INK, blank, canvas, grid_size, look, png
from wardround.simulations.report.names import metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from wardround.simulations.privacy.curves import Curves, CurveValue
    from wardround.simulations.privacy.points import Trust

_COLOURS: Final[dict[Trust, str]] = {"distributed": "#0072b2", "local": "#d55e00"}
_MARKERS: Final[dict[Trust, str]] = {"distributed": "o", "local": "s"}
_NAMES: Final[dict[Trust, str]] = {
    "distributed": "Trust distributed: noise adds up in the secure sum",
    "local": "Trust local: every hospital adds all of it",
}
_APART: Final = 0.06
"""How far the two trust models are drawn apart, so that their bars do not hide each other; doublings of epsilon."""


_BESIDE: Final = 0.5
"""Room on either side, doublings of epsilon: with one epsilon its two marks stand in the middle."""


def draw_curves(curves: Curves) -> bytes:
    """The figure as PNG: a panel for the mean over hospitals, then one for each hospital with a value."""
    sites = ["mean", *dict.fromkeys(row.test_site for row in curves.values if row.test_site != "mean")]
    shown = [site for site in sites if any(row.test_site == site and row.mean is not None for row in curves.values)]
    rows, columns = grid_size(len(shown), 3)
    with look():
        figure, axes = canvas(3.1 * rows + 0.7, rows=rows, columns=columns, shared=True)
        for ax, site in zip(axes, shown, strict=False):
            _panel(ax, curves, site)
        blank(axes[len(shown) :])
        handles, names = axes[0].get_legend_handles_labels()
        several = "; thin: its seeds, one by one" if len(curves.seeds) > 1 else ""
        large = "mean over seeds" if several else "one training each; another seed gives another value"
        title = f"{metric_name(curves.metric)} by epsilon. Large marks: {large}{several}"
        figure.legend(handles, names, ncols=2, loc="outside upper left", title=title, alignment="left")
        return png(figure)


def _panel(ax: Axes, curves: Curves, site: str) -> None:
    places = _places(curves)
    for trust in (trust for trust in TRUSTS if any(point.trust == trust for point in curves.points)):
        _line(ax, curves, site, trust, places)
    reference = curves.value(REFERENCE, site)
    if reference is not None and reference.mean is not None:
        ax.axhline(reference.mean, color=INK, linestyle="--", linewidth=1.2, label="No differential privacy")
        ax.axhspan(*_ends(reference), color=INK, alpha=0.08, linewidth=0)
    ax.set_xticks(list(places.values()), ["∞" if math.isinf(epsilon) else f"{epsilon:g}" for epsilon in places])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(places.values()) - _BESIDE, max(places.values()) + _BESIDE)
    ax.set_xlabel("Epsilon of the whole study")
    ax.set_ylabel(metric_name(curves.metric))
    ax.set_title("Mean over training hospitals" if site == "mean" else site)
    ax.tick_params(labelbottom=True, labelleft=True)
    ax.grid(visible=True, axis="y")


def _line(ax: Axes, curves: Curves, site: str, trust: Trust, places: dict[float, float]) -> None:
    """One trust model: solid over what is promised, dotted to where nothing is."""
    shift = _APART if trust == "local" else -_APART
    found = {size(p.epsilon): curves.value(p.point, site) for p in curves.points if p.trust == trust and p.epsilon}
    known = {epsilon: value for epsilon, value in found.items() if value is not None and value.mean is not None}
    x = [places[epsilon] + shift for epsilon in known]
    means = [value.mean or 0.0 for value in known.values()]
    finite = sum(map(math.isfinite, known))
    colour = _COLOURS[trust]
    ax.plot(x[:finite], means[:finite], color=colour, linewidth=1.7)
    ax.plot(x[max(finite - 1, 0) :], means[max(finite - 1, 0) :], color=colour, linewidth=1.2, linestyle=":")
    ax.plot(x, means, color=colour, marker=_MARKERS[trust], markersize=5, linestyle="none", label=_NAMES[trust])
    ends = [_ends(value) for value in known.values()]
    ax.vlines(x, [low for low, _ in ends], [high for _, high in ends], color=colour, linewidth=2.2, alpha=0.45)
    dots = [(place, seed) for place, value in zip(x, known.values(), strict=True) for seed in value.by_seed if seed]
    ax.scatter([place for place, _ in dots], [seed for _, seed in dots], s=7, color=colour, alpha=0.6, zorder=3)


def _ends(value: CurveValue) -> tuple[float, float]:
    """From the worst to the best seed."""
    return value.low or 0.0, value.high or 0.0


def _places(curves: Curves) -> dict[float, float]:
    """Where each epsilon stands: by its doublings, the infinite one a doubling beyond the largest."""
    epsilons = sorted({size(point.epsilon) for point in curves.points if point.epsilon is not None})
    finite = [epsilon for epsilon in epsilons if math.isfinite(epsilon)]
    beyond = math.log2(finite[-1]) + 1 if finite else 0.0
    return {epsilon: math.log2(epsilon) if math.isfinite(epsilon) else beyond for epsilon in epsilons}
