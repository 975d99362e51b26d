"""One step's privacy loss on a grid, from above: step 1 to 3 of :mod:`wardround.common.privacy.pld`.

Notation: P is the mixture ``(1 - q) N(0, sigma^2) + q N(1, sigma^2)``, Q is ``N(0, sigma^2)``; the loss
``l(x) = ln(P(dx) / Q(dx)) = ln(1 - q + q exp((2 x - 1) / (2 sigma^2)))`` rises with x. Losses are natural
logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.privacy.mechanism import SampledGaussian

UNIT: Final = 2.0**-53
"""Unit round-off of float64."""

LEAST_MULTIPLIER: Final = 0.1
"""Below it the loss of one step exceeds what float64 holds well."""


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """A discrete privacy loss that dominates one step's.

    Args:
        first: The losses are ``(first + j) * width`` for j = 0, 1, …
        width: Spacing of the grid.
        masses: Probability of each loss, float64 ``[N]``; they sum to 1 - infinite.
        infinite: Probability of an infinite loss.
    """

    first: int
    width: float
    masses: NDArray[np.float64]
    infinite: float

    @property
    def losses(self) -> NDArray[np.float64]:
        """The finite losses, rising."""
        return np.arange(self.first, self.first + self.masses.size) * np.float64(self.width)


@dataclass(frozen=True, slots=True)
class Range:
    """The noisy values that are kept; the rest counts as an infinite loss.

    Args:
        low: x below it has probability ``outside`` or less, under P and Q.
        high: x above it has probability ``outside`` or less, under P and Q.
        outside: Probability of one tail.
    """

    low: float
    high: float
    outside: float


def kept(step: SampledGaussian, outside: float) -> Range:
    """The range whose two tails have probability ``outside`` each at most."""
    reach = float(-ndtri(outside)) * step.multiplier
    return Range(-reach, 1 + reach, outside)


def loss(step: SampledGaussian, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """l(x), rising, above ln(1 - q)."""
    shift = (2 * x - 1) / (2 * step.multiplier**2)
    if step.rate == 1:
        return shift
    small = np.log1p(step.rate * np.expm1(np.minimum(shift, 1.0)))
    return np.where(shift < 1, small, np.logaddexp(math.log1p(-step.rate), math.log(step.rate) + shift))


def discretise(step: SampledGaussian, within: Range, width: float) -> tuple[Atoms, Atoms]:
    """The losses of removing and of adding a patient, on the grid of the multiples of ``width``.

    Every x of a cell between two grid losses is split into an outcome at each end so that its probabilities under P and
    Q are kept ("connect the dots", Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022). What remains outside ``within``
    is separated: it counts as an infinite loss in both directions.

    Returns:
        Losses ``ln(P/Q)`` under P (remove), and ``ln(Q/P)`` under Q (add).
    """
    ends = loss(step, np.array([within.low, within.high]))
    first, last = math.floor(ends[0] / width), math.ceil(ends[1] / width)
    grid = np.arange(first, last + 1) * width
    under_p, under_q = _cells(step, _inverse(step, grid))
    upper = _upper_share(under_p, under_q, grid[:-1], width)
    masses = np.zeros(grid.size)
    masses[1:] = under_p * upper
    masses[:-1] += under_p * (1 - upper)
    remove = Atoms(first, width, masses, 2 * within.outside)
    add = Atoms(-last, width, (masses * np.exp(-grid))[::-1], 2 * within.outside)
    return remove, add


def float_slack(step: SampledGaussian, within: Range, width: float) -> float:
    """How far float64 may have put one step's loss too low, as a shift of the loss.

    A cell's probabilities are differences of normal tails F, the nearer ones. F(z) has a relative error below
    ``(8 + 2 z^2) u`` and is at most ``2 / (w max(z, 1))`` times the cell, whose width in sigma is w, which is
    ``sigma * width`` or more (the hazard of the normal is at least max(0.79, z)). Both probabilities are wrong by that
    share at most, the loss by the sum of the two; a factor of 4 is kept for the roundings of grid, loss and logarithms.
    """
    reach = max(-within.low, within.high) / step.multiplier
    return 4 * 2 * 2 * (16 + 2 * reach) * UNIT / min(1.0, step.multiplier * width)


def _inverse(step: SampledGaussian, losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x of each loss; minus infinity at and below ln(1 - q)."""
    if step.rate == 1:
        return step.multiplier**2 * losses + 0.5
    above = losses - math.log1p(-step.rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = losses + np.log(-np.expm1(-np.maximum(above, 0))) - math.log(step.rate)
    return step.multiplier**2 * shift + 0.5


def _cells(step: SampledGaussian, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability under P and under Q of each cell between neighbours in ``x``."""
    centred = _normal_cells(x / step.multiplier)
    moved = _normal_cells((x - 1) / step.multiplier)
    return (1 - step.rate) * centred + step.rate * moved, centred


def _normal_cells(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal probability between neighbours, from the tail that is nearer so that it keeps its digits."""
    lower, upper = ndtr(z), ndtr(-z)
    return np.maximum(np.where(z[:-1] > 0, upper[:-1] - upper[1:], lower[1:] - lower[:-1]), 0)


def _upper_share(
    under_p: NDArray[np.float64], under_q: NDArray[np.float64], low: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """The share of a cell's P that goes to its upper end: ``p_1 + p_2 = P`` and ``p_1 e^-low + p_2 e^-high = Q``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(under_p) - np.log(under_q) - low
    share = np.expm1(-np.clip(above, 0, width)) / math.expm1(-width)
    return np.where(np.isnan(above), 1.0, share)
