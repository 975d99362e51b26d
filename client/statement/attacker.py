"""What an attacker who knows everything but one patient can achieve at most.

The attacker sees all that leaves and the final model, chose the study, knows every other patient, and asks whether one
patient took part. Bounds of (epsilon, delta) on such a test: Wasserman and Zhou 2010, A statistical framework for
differential privacy, theorem 2.4; Kairouz, Oh and Viswanath 2015, The composition theorem for differential privacy,
theorem 2.1. They hold for every pair (epsilon, delta) that a mechanism keeps, so the smallest over many pairs holds as
well: that is what the noise does, where a single pair is what was promised. Add/remove neighbours.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian

_PAIRS: Final = 40
_FURTHEST: Final = 30.0
"""The largest epsilon of a pair that is tried."""
_CLOSE: Final = 1e-3


def posterior(prior: float, epsilon: float) -> float:
    """How sure an attacker can become who was ``prior`` sure, unless what has probability delta happens.

    Args:
        prior: In (0, 1).
        epsilon: 0 or more.
    """
    return prior / (prior + (1 - prior) * math.exp(-epsilon))


def success(epsilon: float, delta: float) -> float:
    """Largest share of right answers when the patient took part in one of two cases on average."""
    return (1 + delta * math.exp(-epsilon)) / (1 + math.exp(-epsilon))


def power(false_alarms: float, epsilon: float, delta: float) -> float:
    """Largest share of participants that are recognised.

    Args:
        false_alarms: Share of others that are called participants, in [0, 1].
        epsilon: 0 or more.
        delta: In [0, 1].
    """
    by_growth = math.exp(min(epsilon, 700.0)) * false_alarms + delta
    by_misses = 1 - math.exp(-epsilon) * (1 - delta - false_alarms)
    return min(1.0, by_growth, by_misses)


def power_of_steps(false_alarms: float, step: SampledGaussian, steps: int) -> float:
    """The same by what so many steps really do; 1 where there is no noise."""
    pairs = [(float(epsilon), pld.delta(step, steps, float(epsilon))) for epsilon in _grid()]
    return min(power(false_alarms, *pair) for pair in pairs)


def success_of_steps(step: SampledGaussian, steps: int) -> float:
    """As :func:`success`, by what so many steps really do: half of one and the total variation distance."""
    return success(0.0, pld.delta(step, steps, 0.0))


def epsilon_of_two(step: SampledGaussian, steps: int, delta: float) -> float:
    """Epsilon at ``delta`` of a person who is a patient of two hospitals whose sums are one; infinite without noise.

    The smaller of two bounds:

    * Group privacy with the whole curve of pairs: e is kept at d for one, so 2 e at ``(1 + exp(e)) d`` for two (Dwork
      and Roth 2014, theorem 2.2, for approximate differential privacy).
    * One mechanism for both: some record of the person is drawn with probability ``1 - (1 - q)^2``, and then moves the
      sum by two sensitivities at most. Hockey-stick divergences are jointly convex and grow with the shift of a
      Gaussian, so the worst is that it always moves by two: a sampled Gaussian with half the multiplier.
    """
    either = SampledGaussian(1 - (1 - step.rate) ** 2, step.multiplier / 2)
    return min(2 * _epsilon_in_a_group(step, steps, delta), pld.epsilon(either, steps, delta))


def _epsilon_in_a_group(step: SampledGaussian, steps: int, delta: float) -> float:
    """The smallest e, to a thousandth, of which ``(1 + exp(e)) delta(e)`` is within ``delta``; infinite for none."""

    def kept(epsilon: float) -> bool:
        return (1 + math.exp(epsilon)) * pld.delta(step, steps, epsilon) <= delta

    # Not by bisection from the far end: there the smallest delta that can be computed is too large for the factor.
    high = next((float(e) for e in np.arange(0.5, _FURTHEST + 0.5, 0.5) if kept(float(e))), math.inf)
    if math.isinf(high):
        return high
    low = high - 0.5
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return high


def _grid() -> list[float]:
    return [0.0, *np.geomspace(0.01, _FURTHEST, _PAIRS).tolist()]
