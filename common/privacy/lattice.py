"""From a sum of clipped gradients to integers with noise, and back.

1. step       ``s = C * 2^-10 / sqrt(P)``: the lattice on which everything that leaves lies
2. clip       each value, over s, to ``+-limit``
3. noise      ``round(y + N(0, deviation^2))`` for each value y, exact (:mod:`wardround.common.privacy.noise`)

**Sensitivity.** Two data sets that differ in one patient have sums that differ by a vector of norm C at most, and by
``2^-9 C`` more through float arithmetic. Clipping a coordinate moves no two points apart, and rounding comes after the
noise, where it is post-processing. So ``C' = C (1 + 2^-9)``, and the noise of one step has standard deviation
``multiplier * C'``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.privacy.noise import BLOCK, RoundedGaussian, largest_magnitude

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

    _Integers = NDArray[np.int64] | NDArray[np.float64]

FINENESS: Final = 2.0**-10
"""sqrt(P) lattice steps over the clipping norm."""

FLOAT_SLACK: Final = 2.0**-9
"""How much float arithmetic may add to the clipping norm, relative to it."""

WIDEST: Final = 1 << 48
"""Limit of a coordinate where no ring sets one, lattice units: with noise they stay exact in float64 and int64."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where sums of clipped gradients lie.

    Args:
        clip: C, the clipping norm.
        values: P, how many values are trained.
    """

    clip: float
    values: int

    @property
    def step(self) -> float:
        """Distance s of neighbouring points, in units of the gradient."""
        return self.clip * FINENESS / math.sqrt(self.values)

    @property
    def sensitivity(self) -> float:
        """C', in units of the gradient; add/remove one patient."""
        return self.clip * (1 + FLOAT_SLACK)

    def deviation(self, multiplier: float) -> float:
        """Standard deviation of the noise of one step, lattice units."""
        return multiplier * self.sensitivity / self.step

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
        clipped = sum(beyond for _, beyond in self._noisy(total, deviation, limit, random, units))
        return units, clipped

    def privatise_real(
        self, total: NDArray[np.float64], *, deviation: float, denominator: float, random: RandomSource
    ) -> NDArray[np.float32]:
        """:meth:`privatise` without a ring's limit, and what the integers stand for over a denominator.

        Returns:
            float32 ``[P]``, in units of the gradient.
        """
        found = np.empty(self.values, dtype=np.float32)
        units, unit = np.empty(BLOCK, dtype=np.float64), self.step / denominator
        for block, _ in self._noisy(total, deviation, WIDEST, random, units):
            part = found[block]
            np.multiply(units[: part.size], unit, out=part, casting="same_kind")
        return found

    def _noisy(
        self, total: NDArray[np.float64], deviation: float, limit: int, random: RandomSource, units: _Integers
    ) -> Iterator[tuple[slice, int]]:
        """Steps 2 and 3, block by block: which block it is, and how many of its coordinates were clipped.

        The integers go to ``units``, ``[P]``; if it is shorter, every block overwrites the one before.
        """
        if total.shape != (self.values,):
            raise ValueError(f"expected {self.values} values, got {total.shape}")
        noise = RoundedGaussian(deviation, random) if deviation != 0 else None
        for first in range(0, self.values, BLOCK):
            block = slice(first, min(first + BLOCK, self.values))
            part, largest, beyond = self._scaled(total[block], limit)
            into = units[block] if units.size == self.values else units[: part.size]
            if noise is None:
                into[:] = np.rint(part) + 0.0
            else:
                noise.around_into(part, largest, into)
            yield block, beyond

    def _scaled(self, part: NDArray[np.float64], limit: int) -> tuple[NDArray[np.float64], float, int]:
        """Lattice units, not rounded; a bound on their magnitude; and how many of them were clipped."""
        with np.errstate(over="ignore"):
            scaled = part * (1 / self.step)
        largest = largest_magnitude(scaled)
        if largest <= limit:
            return scaled, largest, 0
        if not np.isfinite(part).all():
            raise ValueError("a sum of gradients is finite")
        beyond = int(np.count_nonzero(np.abs(scaled) > limit))
        return np.clip(scaled, -limit, limit, out=scaled), limit, beyond

    def real(self, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lattice units ``[P]`` in units of the gradient."""
        return units.astype(np.float64) * self.step
