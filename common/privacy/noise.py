"""Exact integer noise, Poisson sampling and stochastic rounding from an unpredictable source.

``rounded_gaussian`` gives ``round(d Z)`` for a standard normal Z and the deviation d in lattice units:

1. A fresh 32-byte key is drawn and expanded by AES-256-CTR; it makes one array and is kept nowhere.
2. U and V are uniform on (-1, 1), each 512 bits of the stream: 64 bits now, 448 only where they are asked for.
   Pairs with ``S = U^2 + V^2 >= 1`` are dropped (Marsaglia's polar method, 1964); the others give the two independent
   normals ``U g`` and ``V g`` with ``g = sqrt(-2 ln(S) / S)``.
3. float64 computes ``d U g`` from the first 64 bits, together with a bound on its error (:func:`_error`).
4. Where the nearest boundary between two integers is farther away than the bound, rounding the float is rounding the
   exact value, whatever the other 448 bits are. Everywhere else, where S is so near 0 or 1 that float64 loses it
   included, the value is computed from all 512 bits with 200 decimal digits.

The result is a function of the 512-bit uniforms; float64 only finds it faster. Its total variation distance from
``round(d Z)`` is below 2^-250 for each value, for uniform stream bits (README.md, section 4).
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.common.crypto.randomness import draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

    _Reals = NDArray[np.float64]
    _Floats = TypeVar("_Floats", NDArray[np.float64], np.float64)

LEAST_DEVIATION: Final = 16.0
LARGEST_DEVIATION: Final = 2.0**44

BLOCK: Final = 1 << 14
"""Values rounded at a time: they stay in the processor's cache."""

_PAIRS: Final = 1 << 13
"""Pairs in a block: what is worked on stays in the processor's second-level cache."""
_MARGIN: Final = 2.0**-20
"""Pairs with S below it, or this near to 1, are refined: float64 knows too little of S, or of its logarithm."""
LARGEST_ROUNDED: Final = 2.0**62
"""Largest magnitude of a value that is rounded: it and its neighbour fit into 64 bits."""

_NEAR: Final = 2.0**-11
"""Pairs with S this near to 1 are held against an error bound of their own."""
_UNIT: Final = 2.0**-53

_MORE_BYTES: Final = 56
_MORE_AT: Final = 1 << 64
"""Where the further bits of pair 0 begin in the stream; those of pair j begin 128 j bytes later."""
_MORE_STRIDE: Final = 128
_DIGITS: Final = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN, Emin=-(10**6), Emax=10**6)
_SCALE: Final = Decimal(1 << 512)


def rounded_gaussian(size: int, deviation: float, random: RandomSource) -> NDArray[np.int64]:
    """``size`` independent values of ``round(deviation * Z)``, Z standard normal.

    Args:
        size: How many.
        deviation: Standard deviation before rounding, in lattice units, from 16 to 2^44.
        random: Draws the 32 bytes of the key.

    Returns:
        int64 ``[size]``. No value exceeds 38 deviations; one exceeds 14 with a probability below 2^-144.

    Raises:
        ValueError: The size or the deviation is out of range.
    """
    if size < 0:
        raise ValueError(f"there are no {size} values")
    if not LEAST_DEVIATION <= deviation <= LARGEST_DEVIATION:
        raise ValueError(f"a deviation lies between 16 and 2^44 lattice units, not {deviation}")
    key = draw(random, 32)
    stream, values = Keystream(key), np.empty(size, dtype=np.int64)
    done = first = 0
    while done < size:
        pairs = min(_PAIRS, (size - done) * 2 // 3 + 16)  # pi / 4 of the pairs stay, and each gives two values
        block = _block(_words(stream, 2 * pairs).view("<i8").reshape(2, pairs), deviation, key, first)
        kept = min(block.size, size - done)
        values[done : done + kept] = block[:kept]
        done, first = done + kept, first + pairs
    return values


def poisson_sample(count: int, rate: float, random: RandomSource) -> NDArray[np.bool_]:
    """Which of ``count`` patients a step draws.

    Args:
        count: How many there are.
        rate: q in (0, 1].
        random: Draws the 32 bytes of a key.

    Returns:
        bool ``[count]``, independent, each true with probability ``floor(q 2^64) / 2^64``, which is at most q; all of
        them at rate 1.

    Raises:
        ValueError: The count or the rate is out of range.
    """
    if count < 0 or not 0 < rate <= 1:
        raise ValueError(f"a sample has 0 or more patients and a rate in (0, 1], not {count} and {rate}")
    words = _words(Keystream(draw(random, 32)), count)
    if rate == 1:
        return np.ones(count, dtype=np.bool_)
    return words < np.uint64(int(math.ldexp(rate, 64)))


def stochastic_round(values: NDArray[np.float64], random: RandomSource) -> NDArray[np.int64]:
    """Each value rounded up with a probability of its fractional part, down otherwise.

    With the dither r, a multiple of 2^-53 in [0, 1), the result is ``ceil(v' - r)`` for a v' within 2^-54 of v. Two
    vectors that are rounded with the same dither therefore differ by less than one unit more in every coordinate, and
    the mean of the result is within 2^-52 of the value.

    Args:
        values: float64 ``[P]``, finite, of magnitude 2^62 at most.
        random: Draws the 32 bytes of a key.

    Returns:
        int64 ``[P]``.

    Raises:
        TypeError: The values are not float64.
        ValueError: A value is not finite or too large.
    """
    rounder, flat = Dither(random), values.reshape(-1)
    rounded = np.empty(flat.size, dtype=np.int64)
    for first in range(0, flat.size, BLOCK):
        rounded[first : first + BLOCK] = rounder.round(flat[first : first + BLOCK])
    return rounded.reshape(values.shape)


class Dither:
    """The dither of one array, for arrays that are rounded block by block; see :func:`stochastic_round`.

    Args:
        random: Draws the 32 bytes of the key.
    """

    def __init__(self, random: RandomSource) -> None:
        self._stream = Keystream(draw(random, 32))

    def round(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The next values of the array, float64 ``[size]``, rounded.

        Raises:
            TypeError: The values are not float64.
            ValueError: A value is not finite or too large.
        """
        if values.dtype != np.float64:
            raise TypeError(f"values to be rounded are float64, not {values.dtype}")
        if not largest_magnitude(values) <= LARGEST_ROUNDED:
            raise ValueError("values to be rounded are finite and of magnitude 2^62 at most")
        return self.round_within(values)

    def round_within(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """:meth:`round` of values that are known to be finite and small enough."""
        words = _words(self._stream, values.size)
        words >>= np.uint64(11)
        dither = words * _UNIT
        below = np.floor(values)
        above = values - below
        above -= dither  # only its sign matters, which is exact
        below += np.ceil(above, out=above)
        return below.astype(np.int64)


def largest_magnitude(values: NDArray[np.float64]) -> float:
    """0 for no values; not a number if one of them is none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def _words(stream: Keystream, count: int) -> NDArray[np.uint64]:
    """The next 64-bit words of a stream, little-endian."""
    octets = np.empty(8 * count, dtype=np.uint8)
    stream.into(octets)
    return octets.view("<u8")


def _block(words: NDArray[np.int64], deviation: float, key: bytes, first: int) -> NDArray[np.int64]:
    """The values of the pairs ``[2, pairs]``, of which the first is pair number ``first`` of the stream."""
    candidates, points, squares = _candidates(words)
    with np.errstate(divide="ignore", invalid="ignore"):  # of pairs with S near 0 or beyond 1, which are refined
        factors = _factors(squares, deviation)
        points *= factors
        values = np.rint(points)
        integers = values.astype(np.int64)
        values -= points
        distances = np.abs(values, out=values)
        # One bound for almost all of them; what it leaves open is held against a bound of its own.
        unsure = np.maximum(distances[0], distances[1]) >= 0.5 - _common_error(deviation)
        unsure |= squares <= _MARGIN
        unsure |= squares >= 1 - _NEAR
        columns = np.flatnonzero(unsure)
        columns = columns[~_certain(points[:, columns], distances[:, columns], factors[columns], squares[columns])]

    def exact(column: int) -> tuple[int, int] | None:
        pair = int(candidates[column])
        return refine((int(words[0, pair]), int(words[1, pair])), deviation, further_bits(key, first + pair))

    return _corrected(integers, columns.tolist(), exact).reshape(-1)


def _candidates(words: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Step 2 by float64: which pairs may stay ``[n]``, their U and V ``[2, n]`` and S ``[n]``."""
    points = words * 2.0**-63
    squares = points[0] * points[0]
    squares += points[1] * points[1]
    candidates = np.flatnonzero(squares < 1 + _MARGIN)
    chosen = np.empty((2, len(candidates)))
    for row, into in zip(points, chosen, strict=True):
        row.take(candidates, out=into, mode="clip")  # another mode would copy through a buffer
    return candidates, chosen, squares.take(candidates, mode="clip")


def _factors(squares: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """``d g(S)``; infinite where S is 0, and not a number where it is beyond 1."""
    factors = np.log(squares)
    factors /= squares
    factors *= -2
    np.sqrt(factors, out=factors)
    factors *= deviation
    return factors


def _certain(
    reals: NDArray[np.float64],
    distances: NDArray[np.float64],
    factors: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Of pairs ``[2, n]`` with their distances from the nearest integers: whether both are surely rounded right."""
    plain = (squares > _MARGIN) & (squares < 1 - _MARGIN)
    logarithms = -np.log(np.where(plain, squares, 0.5))  # the others only keep the arithmetic quiet
    near = distances + _error(np.abs(reals), factors, logarithms) < 0.5
    certain: NDArray[np.bool_] = plain & near[0] & near[1]
    return certain


def _common_error(deviation: float) -> float:
    """A bound on :func:`_error` for every S in [2^-20, 1 - 2^-11]: there ``|d U g| < 5.3 d`` and ``g < 5400``."""
    return float(_error(np.float64(5.3 * deviation), np.float64(5400 * deviation), np.float64(_NEAR)))


def _error(reals: _Floats, factors: _Floats, logarithms: _Floats) -> _Floats:
    """A bound on the error of ``reals = d U g`` in step 3, four times what the analysis needs.

    With u = 2^-53, L = -ln(S) and S in [2^-20, 1 - 2^-20]: the first 64 bits give U to ``u |U| + 2^-63``, hence S to
    ``7 u S``, and L to ``7 u + 8 u L`` if the logarithm is good to 4 units in the last place; then ``d U g`` is good to
    ``|d U g| (12 + 3.5 / L) u + d g 2^-63`` (README.md, section 4).
    """
    return reals * (64 * _UNIT + 16 * _UNIT / logarithms) + factors * 2.0**-61


def _corrected(
    values: NDArray[np.int64], unsure: list[int], exact: Callable[[int], tuple[int, int] | None]
) -> NDArray[np.int64]:
    """``values`` ``[2, pairs]`` with the unsure columns replaced, or dropped."""
    dropped = []
    for column in unsure:
        pair = exact(column)
        if pair is None:
            dropped.append(column)
        else:
            values[:, column] = pair
    return np.delete(values, dropped, axis=1) if dropped else values


def further_bits(key: bytes, pair: int) -> tuple[int, int]:
    """The 448 further bits of each of the two uniforms of a pair."""
    octets = bytearray(2 * _MORE_BYTES)
    Keystream(key, _MORE_AT + _MORE_STRIDE * pair).into(octets)
    return int.from_bytes(octets[:_MORE_BYTES], "big"), int.from_bytes(octets[_MORE_BYTES:], "big")


def refine(words: tuple[int, int], deviation: float, further: tuple[int, int]) -> tuple[int, int] | None:
    """Step 4: one pair from all of its bits, or nothing if it is dropped.

    Args:
        words: The first 64 bits of U and of V, as signed numbers.
        deviation: d.
        further: The 448 bits that follow.
    """
    with decimal.localcontext(_DIGITS):
        u, v = ((Decimal(((word << 448) + more) * 2 + 1) / _SCALE) for word, more in zip(words, further, strict=True))
        square = u * u + v * v
        if square >= 1:
            return None
        factor = Decimal(deviation) * (-2 * square.ln() / square).sqrt()
        return _nearest(u * factor), _nearest(v * factor)


def _nearest(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR))
