"""Renyi differential privacy of the sampled Gaussian, its conversion, and the ledger's filter.

1. The cost of one step at the order alpha (Mironov, Talwar, Zhang 2019, section 3.1):
   ``ln(A) / (alpha - 1)`` with ``A = E r(z)^alpha``, z from N(0, sigma^2) and the likelihood ratio
   ``r(z) = 1 - q + q exp((2 z - 1) / (2 sigma^2))``. It bounds both directions of add/remove (the
   same section).
2. ``E r = 1``, so ``A - 1 = E f(r)`` with ``f(r) = r^alpha - 1 - alpha (r - 1)``, which is nowhere negative:
   nothing cancels, and costs of 1e-12 keep their digits. For integer orders this is their binomial sum
   (section 3.3) without its first two terms; for fractional ones it is summed by the trapezoidal rule
   in place of their alternating series. With 24 nodes per sigma the rule's error is below 1e-13 of A - 1 (the
   integrand is analytic in the strip ``|Im z| < pi sigma^2``).
3. Costs of steps add up at each order, also when later steps are chosen after seeing earlier ones.
4. Conversion to (epsilon, delta): Canonne, Kamath, Steinke 2020, "The discrete Gaussian for
   differential privacy", proposition 12.
5. The filter over several orders: README.md, section 6.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import gammaln, logsumexp

from wardround.common.privacy.mechanism import check_delta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wardround.common.privacy.mechanism import SampledGaussian

ORDERS: Final[tuple[float, ...]] = (1.75, 2.25, 3.0, 4.0, 6.0, 10.0, 20.0)
"""The orders of the ledger's filter; few, because they share one delta (README.md, section 6, on the choice)."""

DISPLAY_ORDERS: Final[tuple[float, ...]] = (
    *(1 + x / 10 for x in range(1, 10)),
    *(float(order) for order in range(2, 64)),
    *(64.0, 72.0, 80.0, 96.0, 112.0, 128.0, 160.0, 192.0, 224.0, 256.0),
)
"""A denser set, for one study whose orders need not share delta."""

_NODES: Final = 24
"""Nodes per sigma of the trapezoidal rule."""
_REACH: Final = 12.0
"""Where the rule ends, in sigma beyond the last peak: what lies outside is below 1e-31 of the whole."""
_TERMS: Final = 10
_SMALL: Final = 0.02


def rdp(step: SampledGaussian, orders: Sequence[float]) -> NDArray[np.float64]:
    """Renyi cost of one step at each order, add/remove of one patient, both directions.

    Args:
        step: The mechanism.
        orders: Renyi orders, each above 1 and at most 1024.

    Returns:
        float64 ``[len(orders)]``; infinite where there is no noise.

    Raises:
        ValueError: An order is out of range.
    """
    if not all(1 < order <= 1024 for order in orders):
        raise ValueError("a Renyi order lies above 1 and is at most 1024")
    return np.array([_cost(step, float(order)) for order in orders], dtype=np.float64)


def epsilon_of_rdp(costs: Sequence[float] | NDArray[np.float64], orders: Sequence[float], delta: float) -> float:
    """The smallest epsilon that the costs prove at ``delta``; at least 0, and infinite where none is finite.

    The best order may be picked afterwards only where the costs were fixed beforehand; costs that adapt to what was
    released go through :func:`budget`.

    Raises:
        ValueError: ``delta`` is out of range, or costs and orders differ in number.
    """
    check_delta(delta)
    at = np.asarray(orders, dtype=np.float64)
    spent = np.asarray(costs, dtype=np.float64)
    if at.shape != spent.shape or not at.size:
        raise ValueError(f"there are {at.size} orders for {spent.size} costs")
    return max(0.0, float(np.min(spent + _conversion(at, delta))))


def budget(epsilon: float, delta: float, orders: Sequence[float] = ORDERS) -> NDArray[np.float64]:
    """What may be spent at each order so that the filter keeps (epsilon, delta).

    The filter admits a step if afterwards *some* order's total is within its budget. Every order has an equal part of
    ``delta``; README.md, section 6, proves that the whole adaptive interaction is (epsilon, delta)-private.

    Args:
        epsilon: The limit, above 0; infinite is no limit.
        delta: In (0, 1).
        orders: The orders of the filter, fixed before anything is spent.

    Returns:
        float64 ``[len(orders)]``. Negative where an order cannot keep the limit whatever is spent: it never admits.

    Raises:
        ValueError: A value is out of range, or an order occurs twice.
    """
    check_delta(delta)
    if not epsilon > 0:
        raise ValueError(f"a limit on epsilon is above 0, not {epsilon}")
    if not orders or len(set(orders)) != len(orders):
        raise ValueError("a filter has one order or more, each once")
    return epsilon - _conversion(np.asarray(orders, dtype=np.float64), delta / len(orders))


def least_limit(costs: Sequence[float] | NDArray[np.float64], delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The smallest limit on epsilon under which the filter admits these total costs: the inverse of :func:`budget`.

    Raises:
        ValueError: As :func:`epsilon_of_rdp`.
    """
    check_delta(delta)
    return epsilon_of_rdp(costs, orders, delta / len(orders))


def _conversion(orders: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """What epsilon is above the Renyi cost at each order (Canonne, Kamath, Steinke 2020, proposition 12)."""
    return np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)


def _cost(step: SampledGaussian, order: float) -> float:
    if step.multiplier == 0:
        return math.inf
    if step.rate == 1:
        return order / (2 * step.multiplier**2)
    excess = _whole_order(step, int(order)) if order.is_integer() else _fractional_order(step, order)
    return float(np.logaddexp(0.0, excess)) / (order - 1)


def _whole_order(step: SampledGaussian, order: int) -> float:
    """ln(A - 1) by the binomial sum from its third term on."""
    i = np.arange(2, order + 1, dtype=np.float64)
    binomials = gammaln(order + 1) - gammaln(i + 1) - gammaln(order - i + 1)
    growth = i * (i - 1) / (2 * step.multiplier**2)
    terms = binomials + i * math.log(step.rate) + (order - i) * math.log1p(-step.rate)
    return float(logsumexp(terms + growth + np.log(-np.expm1(-growth))))


def _fractional_order(step: SampledGaussian, order: float) -> float:
    """ln(A - 1) by the trapezoidal rule."""
    sigma, width = step.multiplier, step.multiplier / _NODES
    z = np.arange(-_REACH * sigma, order + _REACH * sigma, width)
    normal = -0.5 * (z / sigma) ** 2 - math.log(_NODES * math.sqrt(2 * math.pi))
    return float(logsumexp(normal + _log_excess(step.rate, (2 * z - 1) / (2 * sigma**2), order)))


def _log_excess(rate: float, shift: NDArray[np.float64], order: float) -> NDArray[np.float64]:
    """ln(r^alpha - 1 - alpha (r - 1)) for ``r = 1 - q + q exp(shift)``, without cancellation and without overflow."""
    result = np.empty_like(shift)
    u = rate * np.expm1(np.minimum(shift, 40.0))
    small = np.abs(order * u) < _SMALL
    result[small] = _near_one(u[small], order)
    ratio = np.where(shift < 40.0, np.log1p(u), math.log(rate) + shift)
    below = ~small & (order * ratio < 1)
    result[below] = np.log(np.expm1(order * ratio[below]) - order * u[below])
    far = ratio[~small & ~below]
    rest = order * np.exp((1 - order) * far) - (order - 1) * np.exp(-order * far)
    result[~small & ~below] = order * far + np.log1p(-rest)
    return result


def _near_one(u: NDArray[np.float64], order: float) -> NDArray[np.float64]:
    """The logarithm of the binomial series of ``(1 + u)^alpha`` from its third term on."""
    total = np.zeros_like(u)
    for k in range(_TERMS, 2, -1):
        total = (order - k + 1) / k * u * (1 + total)
    leading = order * (order - 1) / 2 * u * u
    with np.errstate(divide="ignore"):  # u may be 0, and its logarithm is minus infinity
        return np.log(leading) + np.log1p(total)
