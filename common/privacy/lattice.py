"""From a sum of clipped gradients to integers with noise, and back.

1. step       ``s = C * 2^-10 / sqrt(P)``: the lattice on which everything that leaves lies
2. round      the sum over s, stochastically, to integers
3. clip       each integer to ``+-limit``
4. noise      an integer for each value: ``round(N(0, deviation^2))``, exact (:mod:`wardround.common.privacy.noise`)

**Sensitivity.** Two data sets that differ in one patient have sums that differ by a vector of norm C at most, and by
``2^-10 C`` more through float arithmetic. Rounded with the same dither, each of the P integers differs by less than
one more unit than the reals: ``sqrt(P)`` in norm, which is ``2^-10 C`` again. Clipping a coordinate moves no two points
apart. So ``C' = C (1 + 2^-9)``, and the noise of one step has standard deviation ``multiplier * C'``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.privacy.noise import BLOCK, LARGEST_ROUNDED, Dither, largest_magnitude, rounded_gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

FINENESS: Final = 2.0**-10
"""sqrt(P) lattice steps over the clipping norm."""

FLOAT_SLACK: Final = 2.0**-10
"""How much float arithmetic may add to the clipping norm, relative to it."""

WIDEST: Final = 1 << 48
"""Limit of a coordinate where no ring sets one, lattice units: sums stay exact in float64 and int64."""


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
        return self.clip * (1 + FLOAT_SLACK + FINENESS)

    def deviation(self, multiplier: float) -> float:
        """Standard deviation of the noise of one step, lattice units."""
        return multiplier * self.sensitivity / self.step

    def privatise(
        self, total: NDArray[np.float64], *, deviation: float, limit: int = WIDEST, random: RandomSource
    ) -> tuple[NDArray[np.int64], int]:
        """Steps 2 to 4.

        Args:
            total: Sum of clipped gradients, ``[P]``, finite; not changed.
            deviation: Of this site's noise, lattice units; 0 for none.
            limit: Largest magnitude of a coordinate without noise, lattice units.
            random: Draws the keys of dither and noise, which are kept nowhere.

        Returns:
            Integers ``[P]``, and how many coordinates were clipped.

        Raises:
            ValueError: The sum has another size, or is not finite.
        """
        if total.shape != (self.values,):
            raise ValueError(f"expected {self.values} values, got {total.shape}")
        clipped = 0
        units = rounded_gaussian(self.values, deviation, random) if deviation > 0 else np.zeros(self.values, np.int64)
        dither = Dither(random)
        for first in range(0, self.values, BLOCK):
            scaled, largest = self._scaled(total[first : first + BLOCK])
            part = dither.round_within(scaled)
            if largest > limit - 1:
                clipped += int(np.count_nonzero(np.abs(part) > limit))
                np.clip(part, -limit, limit, out=part)
            units[first : first + BLOCK] += part
        return units, clipped

    def _scaled(self, part: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Lattice units, not rounded, and their largest magnitude; what is cut here is beyond any limit."""
        with np.errstate(over="ignore"):
            scaled = part / self.step
        largest = largest_magnitude(scaled)
        if not largest <= LARGEST_ROUNDED:
            if not np.isfinite(part).all():
                raise ValueError("a sum of gradients is finite")
            np.clip(scaled, -LARGEST_ROUNDED, LARGEST_ROUNDED, out=scaled)
        return scaled, largest

    def real(self, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lattice units ``[P]`` in units of the gradient."""
        return units.astype(np.float64) * self.step
