"""The ring of the secure sum: unsigned integers of 16 or 32 bits, sums modulo 2^bits.

One value on the wire is one little-endian unsigned integer. A masked value is uniform over the whole ring; the sum
that is left when all masks are gone is read as a signed number (two's complement). It is exact as long as its
magnitude stays below half of the ring, which :meth:`Ring.levels` guarantees for the data part: no carry, no
wrap-around, whatever the sites hold.

The rounding rule (:func:`rounding_share`) predicts how much the smaller ring costs before a study is built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits = Literal[16, 32]
RingDtype: TypeAlias = "np.dtype[np.uint16 | np.uint32]"
RingVector: TypeAlias = NDArray[np.uint16 | np.uint32]
"""A vector of ring values, shape ``[size]``."""

LARGEST_LIMB: Final = 255
"""Largest digit of a number in base 256, one ring value (:mod:`wardround.common.secagg.scalars`)."""

ROUNDING_LIMIT: Final = 0.01
"""Largest share of rounding in a mean update that a 16-bit ring may have."""

_WORST_DEVIATION: Final = 0.5
"""Standard deviation of one stochastic rounding in steps, at most (see :func:`rounding_share`)."""

_DTYPES: Final[dict[int, RingDtype]] = {16: np.dtype("<u2"), 32: np.dtype("<u4")}


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo ``2**bits``.

    Raises:
        ValueError: ``bits`` is neither 16 nor 32.
    """

    bits: Bits

    def __post_init__(self) -> None:
        if self.bits not in _DTYPES:
            raise ValueError(f"a ring has 16 or 32 bits, not {self.bits}")

    @property
    def dtype(self) -> RingDtype:
        """Type of one value: unsigned, little-endian."""
        return _DTYPES[self.bits]

    @property
    def bytes(self) -> int:
        """Bytes of one value on the wire."""
        return self.bits // 8

    def levels(self, sites: int) -> int:
        """Largest magnitude L of one site's contribution to one value.

        ``sites * L <= 2**(bits - 1) - 1``, so that the sum over any subset of ``sites`` sites lies in
        ``[-(2**(bits - 1) - 1), 2**(bits - 1) - 1]`` and never wraps. In the 16-bit ring L is 10922 for 3 sites,
        3276 for 10 and 655 for 50.

        Raises:
            ValueError: Fewer than one site, or so many that nothing is left for each.
        """
        largest = (1 << (self.bits - 1)) - 1
        if not 1 <= sites <= largest:
            raise ValueError(f"a ring of {self.bits} bits holds sums over 1 to {largest} sites, not {sites}")
        return largest // sites

    def holds_limbs(self, sites: int) -> bool:
        """Whether sums of limbs over this many sites stay below half of the ring: 128 sites in 16 bits."""
        return sites * LARGEST_LIMB < 1 << (self.bits - 1)


def rounding_share(
    bits: Bits, sites: int, clip_factor: float, mean_weight: float, *, survivors: int | None = None
) -> float:
    r"""Predicted RMS of the rounding error of the mean update, as a share of the RMS of the mean update.

    A tensor whose mean update has root mean square r is clipped to ``B = clip_factor * r`` and rounded to multiples
    of ``step = B / L``, L from :meth:`Ring.levels`. Stochastic rounding of a value that lies a fraction f of a step
    above its lower neighbour errs by -f with probability 1 - f and by 1 - f with probability f: its mean is zero and
    its variance ``f (1 - f) step^2``. Over values spread out over many steps that is ``step^2 / 6`` on average; it
    never exceeds ``step^2 / 4``. This rule takes the upper bound: it holds for every distribution of values, also
    for an update that is all ties, and costs a factor of ``sqrt(6 / 4) = 1.22`` at most, less than a quarter of a
    bit. Sites round independently, so the sum over m survivors errs by ``sqrt(m) * step / 2``, and the mean, which
    divides by ``m * mean_weight``, by::

        step / (2 sqrt(m) mean_weight)      share = clip_factor / (2 L sqrt(m) mean_weight)

    Args:
        bits: Bits of the ring.
        sites: Sites of the study, which fix L.
        clip_factor: Clipping bound over the RMS of the *mean* update. Updates that do not agree cancel in the mean:
            a bound of c times the RMS of one site's update is up to ``c sqrt(m)`` times that of the mean.
        mean_weight: Mean of the sites' weights over the weight cap, in (0, 1]; 1 for equal weights.
        survivors: Sites m in the sum; all of them when not given. Fewer survivors average less.

    Raises:
        ValueError: A number is out of its range.
    """
    summed = sites if survivors is None else survivors
    if not 1 <= summed <= sites:
        raise ValueError(f"the survivors are 1 to {sites} sites, not {summed}")
    if not (0 < clip_factor < math.inf and 0 < mean_weight <= 1):
        raise ValueError("the clip factor is positive and finite, the mean weight in (0, 1]")
    return _WORST_DEVIATION * clip_factor / (Ring(bits).levels(sites) * math.sqrt(summed) * mean_weight)


def ring_bits_for(sites: int, clip_factor: float, mean_weight: float, *, survivors: int | None = None) -> Bits:
    """16 where the predicted rounding stays within :data:`ROUNDING_LIMIT` of the mean update, else 32.

    More sites than the limbs of a 16-bit ring hold take 32 as well. The arguments are those of
    :func:`rounding_share`.

    Raises:
        ValueError: A number is out of its range.
    """
    share = rounding_share(16, sites, clip_factor, mean_weight, survivors=survivors)
    return 16 if share <= ROUNDING_LIMIT and Ring(16).holds_limbs(sites) else 32
