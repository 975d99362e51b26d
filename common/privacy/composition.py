"""Many steps' privacy loss from one step's: step 4 and 5 of :mod:`wardround.common.privacy.pld`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import logsumexp

from wardround.common.privacy.discretised import UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.privacy.discretised import Atoms

_LARGEST_EXPONENT: Final = 700.0
_NEGLIGIBLE: Final = 60.0
"""Losses that the tilt weighs below exp(-60) are not summed one by one."""


@dataclass(frozen=True, slots=True)
class Tilt:
    """How one direction is composed.

    Args:
        strength: lambda > 0.
        low: Where the circle of losses begins.
        high: Where it ends.
        above: lambda' > lambda of the Chernoff bound on the losses beyond ``high``.
    """

    strength: float
    low: float
    high: float
    above: float


class Composed:
    """The loss of ``steps`` independent steps, tilted.

    Args:
        atoms: One step's loss.
        steps: T.
        tilt: The tilt and the circle.
    """

    def __init__(self, atoms: Atoms, steps: int, tilt: Tilt) -> None:
        self._width, self._tilt = atoms.width, tilt.strength
        one_step, moment = _tilted(atoms, tilt.strength)
        self._first = math.floor(tilt.low / atoms.width)
        size = next_fast_len(math.ceil(tilt.high / atoms.width) - self._first + 1, real=True)
        self._tilted = _power(one_step, atoms.first, steps, size, self._first)
        self._moment = steps * moment
        self._relative = 1 + steps * 2.0**-42  # exp() of arguments below 2^10, once a step
        self._constant = steps * atoms.infinite + _wrapped(atoms, steps, tilt.above, self._first + size - 1)
        self._rounding = _rounding(steps, size, float(np.linalg.norm(one_step))) * _norm(tilt.strength, atoms.width)

    def delta(self, epsilon: float) -> float:
        """An upper bound on ``E (1 - exp(epsilon - L))_+``, at most 1."""
        chernoff = self._moment - self._tilt * epsilon
        if chernoff > _LARGEST_EXPONENT:
            return 1.0
        begin = max(math.floor(epsilon / self._width) + 1 - self._first, 0)
        end = begin + math.ceil(_NEGLIGIBLE / (self._tilt * self._width))
        part = self._tilted[begin:end]
        beyond = (self._first + begin + np.arange(part.size)) * self._width - epsilon
        bulk = float((np.exp(chernoff - self._tilt * beyond) * -np.expm1(np.minimum(-beyond, 0))) @ part)
        unknown = math.exp(chernoff) * (self._rounding + math.exp(-_NEGLIGIBLE))
        return min(1.0, self._constant + unknown + max(bulk, 0.0) * self._relative)

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon >= 0 that is seen to keep ``delta``, or infinity."""
        low, high = max(self._first, 0) - 1, self._first + self._tilted.size
        if self.delta(high * self._width) > delta:
            return math.inf
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.delta(middle * self._width) <= delta else (middle, high)
        return 0.0 if high <= 0 else self._between(high - 1, delta)

    def _between(self, low: int, delta: float) -> float:
        """Inside a cell delta is convex in ``exp(epsilon)``, so that the chord is an upper bound."""
        at_low, at_high = self.delta(low * self._width), self.delta((low + 1) * self._width)
        share = min(max((at_low - delta) / (at_low - at_high), 0.0), 1.0) if at_low > at_high else 1.0
        return low * self._width + math.log1p(share * math.expm1(self._width))


def chernoff_epsilon(atoms: Atoms, steps: int, strength: float, delta: float) -> float:
    """An upper bound on epsilon without composing: Markov's inequality for ``(1 - exp(epsilon - L))_+``."""
    left = delta - steps * atoms.infinite
    if left <= 0:
        return math.inf
    moment = steps * (_tilted(atoms, strength)[1] + 2.0**-42)
    return (moment + float(log_largest_weight(np.float64(strength))) - math.log(left)) / strength


def log_largest_weight(strength: NDArray[np.float64] | np.float64) -> NDArray[np.float64] | np.float64:
    """``ln max over x of exp(-strength x) (1 - exp(-x))``, the share of Markov's bound that delta can reach."""
    return strength * np.log(strength) - (1 + strength) * np.log1p(strength)


def _tilted(atoms: Atoms, strength: float) -> tuple[NDArray[np.float64], float]:
    """Masses times ``exp(strength * loss - K)``, and K, with which they sum to 1."""
    with np.errstate(divide="ignore"):  # empty cells have no logarithm, and no mass
        logs = np.log(atoms.masses) + strength * atoms.losses
    moment = float(logsumexp(logs))
    return np.exp(logs - moment), moment


def _rounding(steps: int, size: int, norm: float) -> float:
    """A bound on the error that float64 makes in the composed, tilted probabilities, as their L2 norm.

    Higham 2002, theorem 24.2: a transform of length N is off by ``8 u log2(N)`` of its norm. The spectrum's modulus is
    at most 1, so that the power multiplies the first transform's error by ``steps`` at most, and adds ``4 u`` for each
    of its multiplications.
    """
    transform = 8 * math.log2(size)
    return UNIT * (steps * (transform * norm + 4) + transform)


def _norm(strength: float, width: float) -> float:
    """A bound on the L2 norm, over the grid, of ``w(x) = exp(-strength x) (1 - exp(-x))`` for x > 0.

    w rises and then falls: the sum of its squares is at most their integral (a beta function) over the grid's width
    and their maximum.
    """
    integral = 2 / (2 * strength * (2 * strength + 1) * (2 * strength + 2))
    return math.sqrt(integral / width + math.exp(2 * float(log_largest_weight(np.float64(strength)))))


def _wrapped(atoms: Atoms, steps: int, strength: float, last: int) -> float:
    """Chernoff bound on the probability of a composed loss above the index ``last``."""
    if steps * (atoms.first + atoms.masses.size - 1) <= last:
        return 0.0
    return math.exp(min(0.0, steps * (_tilted(atoms, strength)[1] + 2.0**-42) - strength * last * atoms.width))


def _power(one: NDArray[np.float64], first: int, steps: int, size: int, begin: int) -> NDArray[np.float64]:
    """The ``steps``-fold convolution on a circle of ``size``, from the loss index ``begin`` on."""
    places = (first + np.arange(one.size)) % size
    spectrum = rfft(np.bincount(places, weights=one, minlength=size))
    circle = irfft(_raised(spectrum, steps), n=size)
    return np.roll(circle, -(begin % size))


def _raised(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """By repeated squaring: the relative error stays below ``3 * exponent`` roundings."""
    result = np.ones_like(base)
    for bit in f"{exponent:b}":
        result *= result
        if bit == "1":
            result *= base
    return result
