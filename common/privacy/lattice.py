"""From a sum of clipped gradients to integers with noise, and back.

1. step       the lattice on which everything that leaves lies: 1/64 of the noise's standard deviation at one site
2. clip       each value, over the step, to ``+-limit``
3. noise      ``round(y + N(0, deviation^2))`` for each value y, exact (:mod:`wardround.common.privacy.noise`)

**Sensitivity.** Two data sets that differ in one patient have sums that differ by a vector of norm C at most, and by
``2^-9 C`` more through float arithmetic. Clipping a coordinate moves no two points apart, and rounding comes after the
noise, where it is post-processing. So ``C' = C (1 + 2^-9)``, and the noise of one step has standard deviation
``multiplier * C'``.

**The step.** Rounding to it adds 1 part in 49,152 to the variance of the noise, however many values there are. A finer
one would make integers larger for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.privacy.noise import BLOCK, RoundedGaussian, largest_magnitude

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

NOISE_STEPS: Final = 64.0
"""Standard deviation of one site's noise, lattice steps."""

FINENESS: Final = 2.0**-10
"""Without noise: sqrt(P) lattice steps over the clipping norm."""

FLOAT_SLACK: Final = 2.0**-9
"""How much float arithmetic may add to the clipping norm, relative to it."""

_ROUNDED: Final = 1 + 2.0**-20
"""More than float32 may make a magnitude smaller, relative to it."""

WIDEST: Final = 1 << 48
"""Limit of a coordinate where no ring sets one, lattice units: with noise they stay exact in float64 and int64."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where sums of clipped gradients lie.

    Args:
        clip: C, the clipping norm.
        values: P, how many values are trained.
        multiplier: Standard deviation of the noise of one step over C'; 0 for none.
        shares: How many sites' noise makes up that of a step.
    """

    clip: float
    values: int
    multiplier: float
    shares: int = 1

    @property
    def step(self) -> float:
        """Distance s of neighbouring points, in units of the gradient."""
        if self.multiplier == 0:
            return self.clip * FINENESS / math.sqrt(self.values)
        return self.multiplier * self.sensitivity / math.sqrt(self.shares) / NOISE_STEPS

    @property
    def sensitivity(self) -> float:
        """C', in units of the gradient; add/remove one patient."""
        return self.clip * (1 + FLOAT_SLACK)

    @property
    def deviation(self) -> float:
        """Standard deviation of one site's noise in a step, lattice units; 0 for none."""
        return NOISE_STEPS if self.multiplier else 0.0

    def privatise(
        self, total: NDArray[np.float64], *, deviation: float, limit: int = WIDEST, random: RandomSource
    ) -> tuple[NDArray[np.int64], int]:
        """Steps 2 and 3.

        Args:
            total: Sum of clipped gradients, ``[P]``, finite; not changed.
            deviation: Of this site's noise, lattice units; 0 for none.
            limit: Largest magnitude of a coordinate without noise, lattice units, 2^48 at most.
            random: Draws the key of the noise, which is kept nowhere.

        Returns:
            Integers ``[P]``, and how many coordinates were clipped.

        Raises:
            ValueError: The sum has another size, or is not finite.
        """
        units = np.empty(self.values, dtype=np.int64)
        clipped = self._noisy(total, deviation, limit, random, units, 1)
        return units, clipped

    def privatise_real(
        self, total: NDArray[np.float64], *, deviation: float, denominator: float, random: RandomSource
    ) -> NDArray[np.float32]:
        """:meth:`privatise` without a ring's limit, and what the integers stand for over a denominator.

        Returns:
            float32 ``[P]``, in units of the gradient.
        """
        found = np.empty(self.values, dtype=np.float32)
        self._noisy(total, deviation, WIDEST, random, found, self.step / denominator)
        return found

    def _noisy(  # noqa: PLR0917
        self,
        total: NDArray[np.float64],
        deviation: float,
        limit: int,
        random: RandomSource,
        out: NDArray[np.int64] | NDArray[np.float32],
        unit: float,
    ) -> int:
        """Steps 2 and 3: integers times ``unit`` are written to ``out``, ``[P]``; how many values were clipped.

        What is written is a function of the integers alone, whichever way they were found.
        """
        if total.shape != (self.values,):
            raise ValueError(f"expected {self.values} values, got {total.shape}")
        if deviation == 0:
            beyond = self._beyond(total, limit)
            found = np.rint(self._scaled(total, limit)) + 0.0  # no zero has a sign
            out[:] = np.multiply(found.astype(out.dtype), unit)
            return beyond
        noise, single, beyond = RoundedGaussian(deviation, random), np.empty(BLOCK, dtype=np.float32), 0
        for first in range(0, self.values, BLOCK):
            block = slice(first, min(first + BLOCK, self.values))
            part = single[: block.stop - first]
            with np.errstate(over="ignore"):
                np.multiply(total[block], 1 / self.step, out=part, casting="same_kind")
            largest = largest_magnitude(part) * _ROUNDED
            if not largest <= limit:
                beyond += self._beyond(total[block], limit)
                np.clip(part, -limit, limit, out=part)
                largest = limit * _ROUNDED
            with np.errstate(invalid="ignore"):  # of what is undecided, and will be overwritten
                np.multiply(noise.next_block(part, largest), unit, out=out[block], casting="unsafe")
        places = noise.undecided()
        out[places] = np.multiply(noise.decide(self._scaled(total[places], limit)).astype(out.dtype), unit)
        return beyond

    def _scaled(self, values: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
        """Step 2: lattice units, not rounded."""
        with np.errstate(over="ignore"):
            scaled = values * (1 / self.step)
        clipped: NDArray[np.float64] = np.clip(scaled, -limit, limit, out=scaled)
        return clipped

    def _beyond(self, values: NDArray[np.float64], limit: int) -> int:
        """How many values are clipped."""
        if not np.isfinite(values).all():
            raise ValueError("a sum of gradients is finite")
        with np.errstate(over="ignore"):
            return int(np.count_nonzero(np.abs(values * (1 / self.step)) > limit))

    def real(self, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lattice units ``[P]`` in units of the gradient."""
        return units.astype(np.float64) * self.step
