"""Stochastic rounding of real numbers to ring values, block by block.

For a value y in levels (steps of the encoding) and dither u, uniform in [0, 1), ``q = floor(y + u)`` is one of the two
integers next to y, and its expectation is y. The work is done in fixed point with as many fractional bits F as the
ring has bits, and omega, L and B as in :mod:`wardround.common.secagg.encoding`:

1. scale      ``s = x * f``, ``f = omega * L / B * 2^F``, in floating point of twice the ring's width
2. clip       ``s`` to ``+-limit``, ``limit = fl(omega * L * 2^F)``
3. integer    ``t = trunc(s)``, signed, of twice the ring's width
4. dither     ``t + r``, r uniform over the integers in ``[0, 2^F)``, from AES-256-CTR
5. floor      ``q = (t + r) >> F``; the ring value is q modulo 2^F

**The bound holds after float rounding.** omega is at most 1 and rounding to nearest is monotone, so
``limit <= L * 2^F``, which is itself a floating-point number because L has less than F bits. Hence ``|t| <= L * 2^F``
after step 3. In step 5 ``t + r <= L * 2^F + 2^F - 1`` gives ``q <= L``, and ``t + r >= -L * 2^F`` gives ``q >= -L``.
Nothing overflows on the way: ``t + r <= (2^(F-1) - 1) * 2^F + 2^F - 1 = 2^(2F-1) - 1``.

**Bias.** Steps 4 and 5 are exact: r takes each of its 2^F values equally often, so ``E[q] = t / 2^F``. What is left is
the distance of ``t / 2^F`` from ``omega * x / step``: f and the product are each rounded once (relative error 2^-24
in float32, 2^-53 in float64) and step 3 drops less than one unit of 2^-F, towards zero. :func:`residual_bias` bounds
it: at most 0.003 of a step at a value on the clipping bound, 2^-16 of a step at zero, in the 16-bit ring with three
sites or more. Dither and floor err by less than one step. Subnormal products lose more, below 2^-149 units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wardround.common.secagg.ring import Ring, RingVector

    Real = np.float32 | np.float64
    Piece = tuple[slice, int]

BLOCK: Final = 32 * 1024
"""Values worked on at a time: the scratch arrays together stay in the processor's second-level cache."""


def residual_bias(bits: int, levels: int) -> float:
    """Bound on the bias of one rounding, in steps, for values of up to ``levels`` steps."""
    return levels * 2.0 ** (-22 if bits == 16 else -51) + 2.0**-bits


@dataclass(frozen=True, slots=True)
class Scales:
    """What one site's update is multiplied with and clipped to.

    Args:
        factors: f of each tensor, in the working float, ``[tensors]``.
        limit: Largest magnitude after scaling, in the working float.
        bounds: Clipping bound B of each tensor, in the update's units, float32 ``[tensors]``.
    """

    factors: NDArray[Real]
    limit: Real
    bounds: NDArray[np.float32]


def scales_of(ring: Ring, levels: int, share: float, bounds: Sequence[float]) -> Scales:
    """The scales of a site whose weight is ``share`` (omega, 0 to 1) of the cap."""
    real = np.float32 if ring.bits == 16 else np.float64
    largest = share * levels * 2.0**ring.bits
    factors = largest / np.asarray(bounds, dtype=np.float64)
    return Scales(factors.astype(real), real(largest), np.asarray(bounds, dtype=np.float32))


class Rounder:
    """Rounds the blocks of one update, in order, under one dither key.

    ``clipped`` counts the values that were beyond their bound so far.

    Args:
        ring: The ring of the results.
        scales: The site's scales.
        key: 32 bytes, for this update alone.
    """

    __slots__ = (
        "_dither",
        "_error",
        "_fraction",
        "_power",
        "_scaled",
        "_scales",
        "_stream",
        "_units",
        "_wide",
        "clipped",
    )

    def __init__(self, ring: Ring, scales: Scales, key: bytes) -> None:
        self._fraction = ring.bits
        self._scales = scales
        self._stream = Keystream(key)
        self._scaled = np.empty(BLOCK, dtype=scales.factors.dtype)
        self._units: NDArray[np.int32 | np.int64] = np.empty(BLOCK, dtype=f"i{2 * ring.bytes}")
        self._wide = np.empty_like(self._units)
        self._dither = np.empty(BLOCK, dtype=ring.dtype)
        self._error = self._power = 0.0
        self.clipped = 0

    def round_into(self, values: NDArray[np.float32], pieces: Sequence[Piece], out: RingVector) -> None:
        """Round one block, at most :data:`BLOCK` values, into ``out``.

        Args:
            values: Part of the update, ``[size]``.
            pieces: The parts of the block that lie in one tensor each: where in the block, and the tensor's number.
            out: Ring values, ``[size]``.

        Raises:
            WardroundError: ``WR-1710``, a value is not finite; ``out`` is not written.
        """
        scaled, units = self._scaled[: values.size], self._units[: values.size]
        self._scale(values, pieces, scaled)
        limit = self._scales.limit
        if not (-limit <= scaled.min() and scaled.max() <= limit):  # NaN compares false
            self._clip(values, pieces, scaled)
        np.copyto(units, scaled, casting="unsafe")  # step 3
        self._floor(units)
        np.copyto(out, units, casting="unsafe")

    def measure(self, pieces: Sequence[Piece]) -> None:
        """Add the block rounded last to the sample behind :attr:`rounding_share`. Once for a block."""
        size = pieces[-1][0].stop
        levels, error = self._scaled[:size], self._wide[:size].view(self._scaled.dtype)
        levels *= levels.dtype.type(2.0**-self._fraction)
        np.copyto(error, self._units[:size], casting="unsafe")
        error -= levels
        for place, tensor in pieces:
            unit = float(self._scales.bounds[tensor]) ** 2
            self._error += unit * float(np.dot(error[place], error[place]))
            self._power += unit * float(np.dot(levels[place], levels[place]))

    @property
    def rounding_share(self) -> float:
        """RMS of the rounding error over RMS of the clipped update, over the measured blocks; 0 for zeros."""
        return float(np.sqrt(self._error / self._power)) if self._power else 0.0

    def _scale(self, values: NDArray[np.float32], pieces: Sequence[Piece], scaled: NDArray[Real]) -> None:
        """Step 1."""
        with np.errstate(over="ignore", invalid="ignore"):  # step 2 sees what overflows or is no number
            for place, tensor in pieces:
                np.multiply(values[place], self._scales.factors[tensor], out=scaled[place])

    def _clip(self, values: NDArray[np.float32], pieces: Sequence[Piece], scaled: NDArray[Real]) -> None:
        """Step 2, for blocks that need it."""
        if not np.isfinite(values).all():
            raise WardroundError("WR-1710", "The update holds values that are not finite.")
        for place, tensor in pieces:
            self.clipped += int(np.count_nonzero(np.abs(values[place]) > self._scales.bounds[tensor]))
        np.clip(scaled, -self._scales.limit, self._scales.limit, out=scaled)

    def _floor(self, units: NDArray[np.int32 | np.int64]) -> None:
        """Steps 4 and 5, in place."""
        dither, wide = self._dither[: units.size], self._wide[: units.size]
        self._stream.into(dither.view(np.uint8))
        np.copyto(wide, dither)
        np.add(units, wide, out=units)
        np.right_shift(units, self._fraction, out=units)
