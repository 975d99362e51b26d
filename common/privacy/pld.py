"""Privacy loss distribution of many sampled Gaussian steps: an upper bound, within a fraction of a percent.

Neighbouring relation: add or remove one patient; the result is the worse of the two directions. Steps:

1. *Keep* the noisy values up to tails of probability ``1e-4 delta / steps``; the tails count as an infinite loss.
2. *Choose* from the kept values' moments the tilt lambda, which minimises the Chernoff bound on epsilon, and the width
   of the grid, so that discretising raises the Renyi cost by a share of 1e-4 or so.
3. *Discretise* upwards (:mod:`wardround.common.privacy.discretised`).
4. *Tilt* by ``exp(lambda l)``, so that the composed distribution has its bulk where delta is decided (Alghamdi et al.
   2022, "The saddle-point accountant"), *compose* by FFT on a circle, untilt.
5. *Read off* ``delta(epsilon) = E (1 - exp(epsilon - L))_+`` of the composed loss L, and solve for epsilon.

Steps 4 and 5 are :mod:`wardround.common.privacy.composition`. What steps 1 and 2 choose decides how tight the bound is,
not whether it holds. All errors are added so that epsilon and delta come out too high, never too low (README.md,
section 5):

* tails of step 1: ``steps`` times their probability, to delta;
* wrap-around in step 4: losses beyond the circle's upper end are added to delta by a Chernoff bound on the discretised
  moments; losses below its lower end turn up above, which only raises delta;
* rounding of the FFT (Higham 2002, theorem 24.2), to delta: with the tilt it is a share of about 1e-6 of delta;
* rounding of the cells' probabilities: a shift of every step's loss, to epsilon.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy.special import logsumexp

from wardround.common.privacy.composition import Composed, Tilt, chernoff_epsilon, log_largest_weight
from wardround.common.privacy.discretised import LEAST_MULTIPLIER, discretise, float_slack, kept, loss
from wardround.common.privacy.mechanism import check_delta, check_steps
from wardround.common.privacy.rdp import DISPLAY_ORDERS, epsilon_of_rdp, rdp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.privacy.discretised import Atoms, Range
    from wardround.common.privacy.mechanism import SampledGaussian

SMALLEST_DELTA: Final = 1e-12
"""Supported; below it the tails that are cut off would need more than float64's normal tail holds well."""

_TAILS: Final = 1e-4
"""The share of delta that is given to the tails."""
_SHARE: Final = 1e-4
"""How much of epsilon the grid may cost."""
_FLOOR: Final = 1e-3
"""An epsilon below it is not resolved more finely than one of this size."""
_MOST_CELLS: Final = 1 << 20
_BEYOND: Final = math.log(1e12)
"""What lies outside the circle has less than exp(-_BEYOND) of the tilted probability, and above it of delta."""
_NODES: Final = 16
_STRENGTHS: Final = np.geomspace(1e-3, 2e3, 112)
_MOST_CHANGE: Final = 0.25
"""By how much a tilt's exponent changes over a cell."""


class Direction(IntEnum):
    """What a neighbour has: one patient less or one more; the order of :func:`discretise`."""

    REMOVE = 0
    ADD = 1


@lru_cache(maxsize=1024)
def epsilon(step: SampledGaussian, steps: int, delta: float) -> float:
    """An upper bound on the epsilon of ``steps`` steps at ``delta``.

    Args:
        step: The mechanism. Below a multiplier of 0.1 the answer is the looser one of Renyi accounting.
        steps: T, 1 or more.
        delta: From 1e-12 to below 1.

    Returns:
        Epsilon, 0 or more; infinite where there is no noise.

    Raises:
        ValueError: ``steps`` or ``delta`` is out of range.
    """
    check_steps(steps)
    check_delta(delta, SMALLEST_DELTA)
    if step.multiplier < LEAST_MULTIPLIER:
        return epsilon_of_rdp(steps * rdp(step, DISPLAY_ORDERS), DISPLAY_ORDERS, delta)
    kept_values = _Kept(step, steps, _TAILS * delta / (2 * steps))
    likely, other = sorted((kept_values.chernoff(direction, delta) for direction in Direction), reverse=True)
    found, atoms = kept_values.epsilon(likely, delta)
    if chernoff_epsilon(atoms[other.direction], steps, other.strength, delta) > found:
        found = max(found, kept_values.epsilon(other, delta)[0])
    return found


@lru_cache(maxsize=1024)
def delta(step: SampledGaussian, steps: int, epsilon: float) -> float:
    """An upper bound on the delta of ``steps`` steps at ``epsilon``, meaningful down to 1e-12.

    Args:
        step: The mechanism. Below a multiplier of 0.1 the answer is 1.
        steps: T, 1 or more.
        epsilon: 0 or more, finite.

    Returns:
        Delta, in (0, 1].

    Raises:
        ValueError: ``steps`` or ``epsilon`` is out of range.
    """
    check_steps(steps)
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"an epsilon is 0 or more and finite here, not {epsilon}")
    if step.multiplier < LEAST_MULTIPLIER:
        return 1.0
    kept_values = _Kept(step, steps, _TAILS * SMALLEST_DELTA / (2 * steps))
    return max(kept_values.delta(kept_values.saddle(direction, epsilon)) for direction in Direction)


class _Choice(NamedTuple):
    """A direction, the tilt lambda that suits it, and the point to aim at."""

    epsilon: float
    log_delta: float
    strength: float
    direction: Direction


class _Kept:
    """Step 1 and 2: the kept values of one step, and what is chosen from their moments.

    The moments come from the trapezoidal rule over the kept x. They are estimates: choices are made by them, bounds are
    not.
    """

    def __init__(self, step: SampledGaussian, steps: int, outside: float) -> None:
        self._step, self._steps = step, steps
        self._range: Range = kept(step, outside)
        low, high = self._range.low, self._range.high
        nodes = np.linspace(low, high, math.ceil(_NODES * (high - low) / step.multiplier) + 1)
        self._losses = loss(step, nodes)
        self._lowest, self._highest = float(self._losses[0]), float(self._losses[-1])
        density = math.log((nodes[1] - nodes[0]) / (step.multiplier * math.sqrt(2 * math.pi)))
        self._logs = density - 0.5 * (nodes / step.multiplier) ** 2

    def chernoff(self, direction: Direction, delta: float) -> _Choice:
        """The lambda with the smallest Chernoff bound on epsilon, and that bound."""
        bounds = (self._moments(direction, _STRENGTHS) + log_largest_weight(_STRENGTHS) - math.log(delta)) / _STRENGTHS
        best = int(np.argmin(bounds))
        return _Choice(float(bounds[best]), math.log(delta), float(_STRENGTHS[best]), direction)

    def saddle(self, direction: Direction, epsilon: float) -> _Choice:
        """The lambda with the smallest Chernoff bound on delta."""
        bounds = self._moments(direction, _STRENGTHS) + log_largest_weight(_STRENGTHS) - _STRENGTHS * epsilon
        best = int(np.argmin(bounds))
        return _Choice(epsilon, max(float(bounds[best]), math.log(SMALLEST_DELTA)), float(_STRENGTHS[best]), direction)

    def epsilon(self, choice: _Choice, delta: float) -> tuple[float, tuple[Atoms, Atoms]]:
        """Step 3 to 5 for one direction; on a finer grid if the aim was far too high."""
        aim = max(choice.epsilon, _FLOOR)
        while True:
            tilt, width = self._tilt(choice, aim)
            atoms = discretise(self._step, self._range, width)
            found = Composed(atoms[choice.direction], self._steps, tilt).epsilon(delta)
            if found >= aim / 2 or aim == _FLOOR:
                return found + self._slack(width), atoms
            aim = max(found, _FLOOR)

    def delta(self, choice: _Choice) -> float:
        """Step 3 to 5 for one direction."""
        tilt, width = self._tilt(choice, max(choice.epsilon, _FLOOR))
        atoms = discretise(self._step, self._range, width)
        composed = Composed(atoms[choice.direction], self._steps, tilt)
        return composed.delta(max(choice.epsilon - self._slack(width), 0.0))

    def _slack(self, width: float) -> float:
        return self._steps * float_slack(self._step, self._range, width)

    def _moments(self, direction: Direction, strengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """``steps * K(lambda)`` for each lambda: the P-mass is the Q-mass times ``exp(l)``."""
        powers = -strengths if direction == Direction.ADD else 1 + strengths
        return self._steps * np.asarray(logsumexp(self._logs + powers[:, None] * self._losses, axis=1))

    def _tilt(self, choice: _Choice, aim: float) -> tuple[Tilt, float]:
        """The circle, from Chernoff bounds on the tilted distribution's two tails, and the grid's width."""
        strength, width = choice.strength, self._width(choice.strength, aim)
        furthest = min(_MOST_CHANGE, 3 / math.sqrt(self._steps)) / width  # further, the grid itself would raise K
        moves = np.geomspace(0.01 * strength, max(strength, furthest), 64)
        here = float(self._moments(choice.direction, np.array([strength]))[0])
        above = self._moments(choice.direction, strength + moves)
        highs = np.maximum((above - here + _BEYOND) / moves, (above + _BEYOND - choice.log_delta) / (strength + moves))
        lows = (here - self._moments(choice.direction, strength - moves) - _BEYOND) / moves
        best = int(np.argmin(highs))
        largest = -self._lowest if choice.direction == Direction.ADD else self._highest
        low, high = float(np.max(lows)), min(float(highs[best]), self._steps * (largest + width))
        return Tilt(strength, low, high, float(strength + moves[best])), max(width, (high - low) / _MOST_CELLS)

    def _width(self, strength: float, aim: float) -> float:
        """A chord over a cell raises K(lambda) by about ``lambda (lambda + 1) width^2 / 12``; steps add up."""
        wanted = math.sqrt(12 * _SHARE * aim / (self._steps * (1 + strength)))
        return max(min(wanted, _MOST_CHANGE / strength), (self._highest - self._lowest) / _MOST_CELLS)
