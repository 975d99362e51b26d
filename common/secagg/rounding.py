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

import math
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

BLOCK: Final = 128 * 1024
"""Values worked on at a time. The scratch arrays (1.3 MB in the 16-bit ring) stay in a processor's cache, and the
calls cost little; 32 Ki values took a fifth longer."""


def residual_bias(bits: int, levels: int) -> float:
    """Bound on the bias of one rounding, in steps, for values of up to ``levels`` steps."""
    return levels * 2.0 ** (-22 if bits == 16 else -51) + 2.0**-bits


@dataclass(frozen=True, slots=True)
class Scales:
    """What one site's update is multiplied with and clipped to.

    Args:
        factors: f of each tensor, in the working float, ``[tensors]``.
        limit: Largest magnitude after scaling, in the working float.
        bounds: Clipping bound B of each tensor, in the update's units.
    """

    factors: NDArray[Real]
    limit: Real
    bounds: Sequence[float]


def working_float(ring: Ring) -> np.dtype[Real]:
    """Floating point of twice the ring's width: its fraction holds every sum of the ring's signed values exactly."""
    return np.dtype(np.float32) if ring.bits == 16 else np.dtype(np.float64)


def scales_of(ring: Ring, levels: int, share: float, bounds: Sequence[float]) -> Scales:
    """The scales of a site whose weight is ``share`` (omega, 0 to 1) of the cap."""
    real = working_float(ring)
    largest = share * levels * 2.0**ring.bits
    factors = largest / np.asarray(bounds, dtype=np.float64)
    return Scales(factors.astype(real), real.type(largest), bounds)


class Rounder:
    """Rounds the blocks of one update, in order, under one dither key.

    ``clipped`` counts the values that were beyond their bound so far (judged after scaling, so that one on the bound
    may count or not).

    Args:
        ring: The ring of the results.
        scales: The site's scales.
        key: 32 bytes, for this update alone.
    """

    __slots__ = ("_dither", "_error", "_fraction", "_power", "_scaled", "_scales", "_stream", "_units", "clipped")

    def __init__(self, ring: Ring, scales: Scales, key: bytes) -> None:
        self._fraction = ring.bits
        self._scales = scales
        self._stream = Keystream(key)
        self._scaled = np.empty(BLOCK, dtype=working_float(ring))
        self._units: NDArray[np.int32 | np.int64] = np.empty(BLOCK, dtype=f"i{2 * ring.bytes}")
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
        size = values.size
        scaled, units, dither = self._scaled[:size], self._units[:size], self._dither[:size]
        with np.errstate(over="ignore", invalid="ignore"):  # step 2 sees what overflows or is no number
            for place, tensor in pieces:
                np.multiply(values[place], self._scales.factors[tensor], out=scaled[place])  # step 1
        self._clip(values, scaled, magnitude=units.view(scaled.dtype))
        np.copyto(units, scaled, casting="unsafe")  # step 3
        self._stream.into(dither.view(np.uint8))
        np.add(units, dither, out=units)  # step 4
        np.right_shift(units, self._fraction, out=units)  # step 5
        np.copyto(out, units, casting="unsafe")

    def _clip(self, values: NDArray[np.float32], scaled: NDArray[Real], magnitude: NDArray[Real]) -> None:
        """Step 2, in place; ``magnitude`` is scratch."""
        limit = self._scales.limit
        np.abs(scaled, out=magnitude)
        largest = np.maximum.reduce(magnitude)
        if largest <= limit:  # false for NaN
            return
        if not (np.isfinite(largest) or np.isfinite(values).all()):  # finite values may overflow in step 1
            raise WardroundError("WR-1710", "The update holds values that are not finite.")
        self.clipped += int(np.count_nonzero(magnitude > limit))
        np.clip(scaled, -limit, limit, out=scaled)

    def measure(self, pieces: Sequence[Piece]) -> None:
        """Add the block rounded last to the sample behind :attr:`rounding_share`. Once for a block."""
        size = pieces[-1][0].stop
        levels = self._scaled[:size]
        levels *= levels.dtype.type(2.0**-self._fraction)
        error = self._units[:size].astype(levels.dtype)
        error -= levels
        for place, tensor in pieces:
            unit = self._scales.bounds[tensor] ** 2
            self._error += unit * float(np.dot(error[place], error[place]))
            self._power += unit * float(np.dot(levels[place], levels[place]))

    @property
    def rounding_share(self) -> float:
        """RMS of the rounding error over RMS of the clipped update, over the measured blocks; 0 for zeros."""
        return math.sqrt(self._error / self._power) if self._power else 0.0
