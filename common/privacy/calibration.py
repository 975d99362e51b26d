"""The noise multiplier that a study needs for the epsilon and delta it promises.

1. Bracket: Renyi accounting is cheap and bounds the multiplier from above; it is lowered until epsilon is exceeded.
2. Solve ``pld.epsilon(multiplier) = epsilon`` inside (Brent's method; epsilon falls as the multiplier grows).
3. Round up to 4 decimals, and check what is returned.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from scipy.optimize import brentq

from wardround.common.errors import WardroundError
from wardround.common.privacy import pld
from wardround.common.privacy.discretised import LEAST_MULTIPLIER
from wardround.common.privacy.mechanism import SampledGaussian, check_delta, check_steps
from wardround.common.privacy.rdp import DISPLAY_ORDERS, epsilon_of_rdp, rdp

LARGEST_MULTIPLIER: Final = 1000.0
_DECIMALS: Final = 10**4
_CLOSE: Final = 1e-5


@lru_cache(maxsize=256)
def multiplier_for(rate: float, steps: int, epsilon: float, delta: float) -> float:
    """The smallest noise multiplier that keeps (epsilon, delta), add/remove of one patient, all steps charged.

    Args:
        rate: q, the sampling rate of one step.
        steps: T, rounds times local steps.
        epsilon: The promise, above 0 and finite.
        delta: The promise, from 1e-12 to below 1.

    Returns:
        sigma, a multiple of 1e-4 from 0.1 to 1000, above the smallest by less than 1e-4 and 1e-4 of it together;
        ``pld.epsilon(SampledGaussian(rate, sigma), steps, delta) <= epsilon`` was checked.

    Raises:
        WardroundError: ``WR-1801``, no multiplier up to 1000 does.
        ValueError: An argument is out of range.
    """
    check_steps(steps)
    check_delta(delta, pld.SMALLEST_DELTA)
    if not 0 < epsilon < math.inf:
        raise ValueError(f"a multiplier is solved for an epsilon above 0 and finite, not {epsilon}")

    def excess(multiplier: float) -> float:
        return pld.epsilon(SampledGaussian(rate, multiplier), steps, delta) - epsilon

    high = _renyi_multiplier(rate, steps, epsilon, delta)
    if excess(high) > 0:
        raise WardroundError(
            "WR-1801",
            f"No noise multiplier up to {LARGEST_MULTIPLIER:g} keeps epsilon {epsilon:g} at delta {delta:g} over "
            f"{steps} steps with a sampling rate of {rate:g}.",
        )
    low = high
    while excess(low) <= 0:
        if low == LEAST_MULTIPLIER:
            return low
        low, high = max(low / 1.2, LEAST_MULTIPLIER), low
    found = math.ceil(brentq(excess, low, high, xtol=_CLOSE * low) * _DECIMALS)
    while excess(found / _DECIMALS) > 0:  # what Brent's method leaves is a few of these at most
        found += 1
    return found / _DECIMALS


def _renyi_multiplier(rate: float, steps: int, epsilon: float, delta: float) -> float:
    """A multiplier that keeps the promise by Renyi accounting, or the largest one."""
    low, high = LEAST_MULTIPLIER, LARGEST_MULTIPLIER
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        costs = steps * rdp(SampledGaussian(rate, middle), DISPLAY_ORDERS)
        low, high = (low, middle) if epsilon_of_rdp(costs, DISPLAY_ORDERS, delta) <= epsilon else (middle, high)
    return high
