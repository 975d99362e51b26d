"""Exact integer noise and Poisson sampling from an unpredictable source.

:class:`RoundedGaussian` gives ``round(y + d Z)`` for real y, a standard normal Z and the deviation d in lattice units:

1. A fresh 32-byte key is drawn and expanded by AES-256-CTR; it makes one array and is kept nowhere.
2. U and V are uniform on (-1, 1), each 512 bits of the stream: 64 bits now, 448 only where they are asked for.
   Pairs with ``S = U^2 + V^2 >= 1`` are dropped (Marsaglia's polar method, 1964); the others give the two independent
   normals ``U g`` and ``V g`` with ``g = sqrt(-2 ln(S) / S)``.
3. float64 computes ``y + d U g`` from the first 64 bits, with a bound on its error (:func:`_error`).
4. Where the nearest boundary between two integers is farther away than the bound, rounding the float is rounding the
   exact value, whatever the other 448 bits are. Everywhere else, where S is so near 0 or 1 that float64 loses it
   included, the value is computed from all 512 bits with 200 decimal digits.

The result is a function of y and the 512-bit uniforms; float64 only finds it faster. Its total variation distance from
``round(y + d Z)`` is below 2^-250 for each value, for uniform stream bits (README.md, section 4).
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.common.crypto.randomness import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

    _Reals = NDArray[np.float64]
    _Floats = TypeVar("_Floats", NDArray[np.float64], np.float64)

LEAST_DEVIATION: Final = 16.0
LARGEST_DEVIATION: Final = 2.0**44
LARGEST_MEAN: Final = 2.0**51
"""Largest magnitude of a value that gets noise: with the noise it is an integer that float64 and int64 hold."""

BLOCK: Final = 16_384
"""Values that get noise at a time: what is worked on stays in the processor's second-level cache."""

_MARGIN: Final = 2.0**-20
"""Pairs with S below it, or this near to 1, are refined: float64 knows too little of S, or of its logarithm."""

_UNIT: Final = 2.0**-53

_MORE_BYTES: Final = 56
_MORE_AT: Final = 1 << 64
"""Where the further bits of pair 0 begin in the stream; those of pair j begin 128 j bytes later."""
_MORE_STRIDE: Final = 128
_DIGITS: Final = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN, Emin=-(10**6), Emax=10**6)
_SCALE: Final = Decimal(1 << 512)


class RoundedGaussian:
    """Noise for one array, which may come block by block.

    Args:
        deviation: Standard deviation before rounding, d, in lattice units, from 16 to 2^44.
        random: Draws the 32 bytes of the key.

    Raises:
        ValueError: The deviation is out of range.
    """

    def __init__(self, deviation: float, random: RandomSource) -> None:
        if not LEAST_DEVIATION <= deviation <= LARGEST_DEVIATION:
            raise ValueError(f"a deviation lies between 16 and 2^44 lattice units, not {deviation}")
        self._deviation = deviation
        self._key = draw(random, 32)
        self._stream = Keystream(self._key)
        self._drawn = 0

    def around(self, means: NDArray[np.float64]) -> NDArray[np.int64]:
        """``round(y + deviation * Z)`` for each y, with an independent standard normal Z.

        Args:
            means: float64 ``[size]``, the next values of the array; finite, of magnitude 2^51 at most. Beyond 2^40 it
                takes long, because most values are computed with 200 digits.

        Returns:
            int64 ``[size]``. No value is farther than 38 deviations from y; one is farther than 14 with a probability
            below 2^-144.

        Raises:
            TypeError: The values are not float64.
            ValueError: A value is not finite or too large.
        """
        values = np.empty(means.size, dtype=np.int64)
        self.around_into(means, largest_magnitude(means), values)
        return values

    def around_into(
        self, means: NDArray[np.float64], largest: float, into: NDArray[np.int64] | NDArray[np.float64]
    ) -> None:
        """:meth:`around`, written into another array.

        Args:
            means: As there.
            largest: The caller's word that no magnitude exceeds it and that all are finite.
            into: ``[size]``, of a type that holds every one of the integers.
        """
        if means.dtype != np.float64:
            raise TypeError(f"values that get noise are float64, not {means.dtype}")
        if not largest <= LARGEST_MEAN:
            raise ValueError("values that get noise are finite and of magnitude 2^51 at most")
        dropped: list[int] = []
        done = 0
        while done < means.size:
            wanted = min(BLOCK, means.size - done)
            # pi / 4 of the pairs stay, and each gives two values; with these many it is seldom too few of them
            pairs = self._draw(wanted * 42 // 64 + 64)
            block, again = _block(pairs, means[done : done + wanted], self._deviation, largest)
            into[done : done + block.size] = block
            dropped += [done + at for at in again]
            done += block.size
        if dropped:
            into[dropped] = self.around(means[dropped])

    def _draw(self, count: int) -> _Pairs:
        """The next pairs of the stream."""
        words = _words(self._stream, 2 * count).view("<i8").reshape(2, count)
        first, self._drawn = self._drawn, self._drawn + count
        return _Pairs(words, self._key, first)


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


def largest_magnitude(values: NDArray[np.float64]) -> float:
    """0 for no values; not a number if one of them is none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def _words(stream: Keystream, count: int) -> NDArray[np.uint64]:
    """The next 64-bit words of a stream, little-endian."""
    octets = np.empty(8 * count, dtype=np.uint8)
    stream.into(octets)
    return octets.view("<u8")


class _Pairs(NamedTuple):
    """Pairs of uniforms of a stream.

    Attributes:
        words: The first 64 bits of U and of V, as signed numbers, ``[2, pairs]``.
        key: Of the stream.
        first: Number of the first pair in the stream.
    """

    words: NDArray[np.int64]
    key: bytes
    first: int


def _block(pairs: _Pairs, means: _Reals, deviation: float, largest: float) -> tuple[_Reals, list[int]]:
    """Steps 2 to 4.

    The U of the pairs that stay, one after the other, and then their V give the values. No mean exceeds ``largest``.

    Returns:
        The values of the first means, as many as there are pairs for; and the places among them that hold nothing,
        because their pair is dropped after all.
    """
    size = means.size
    if size % 2:
        means = np.append(means, 0.0)
    words, key, first = pairs
    chosen, reals, squares = _candidates(words, means.size // 2)
    means = means[: reals.size].reshape(reals.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # of pairs with S near 0 or beyond 1, which are refined
        reals *= _factors(squares, deviation * 2.0**-63)
        reals += means
        values = np.rint(reals)
        reals -= values
    dropped = []
    for column in _unsure(words, chosen, means, reals, squares, deviation, largest):
        pair = int(chosen[column])
        bits, around = (int(words[0, pair]), int(words[1, pair])), (float(means[0, column]), float(means[1, column]))
        exact = refine(bits, deviation, further_bits(key, first + pair), around)
        values[:, column] = exact or (0, 0)  # integers below 2^53
        if exact is None:
            dropped += [place for place in (column, len(chosen) + column) if place < size]
    values += 0.0  # no zero keeps the sign of what was rounded
    return values.reshape(-1)[:size], dropped


def _unsure(  # noqa: PLR0917
    words: NDArray[np.int64],
    chosen: NDArray[np.intp],
    means: _Reals,
    rests: _Reals,
    squares: _Reals,
    deviation: float,
    largest: float,
) -> list[int]:
    """The columns of ``rests [2, n]``, reals less the nearest integers, in which float64 may have rounded wrongly."""
    # One bound for all; what it leaves open is held against a bound of its own.
    lowest, highest = float(squares.min()), float(squares.max())
    plain = lowest > _MARGIN and highest < 1 - _MARGIN
    limit = 0.5 - _common_error(deviation, largest, -math.log(highest) if plain else _MARGIN)
    if plain and largest_magnitude(rests) < limit:
        return []
    sure = (np.abs(rests) < limit).all(axis=0) & (squares > _MARGIN) & (squares < 1 - _MARGIN)
    columns = np.flatnonzero(~sure)
    points, squares = words[:, chosen[columns]] * 2.0**-63, squares[columns]
    known = (squares > _MARGIN) & (squares < 1 - _MARGIN)
    squares = np.where(known, squares, 0.5)  # the others only keep the arithmetic quiet
    factors = _factors(squares, deviation)
    errors = _error(np.abs(points * factors), factors, -np.log(squares), np.abs(means[:, columns]))
    near = (np.abs(rests[:, columns]) + errors < 0.5).all(axis=0)
    found: list[int] = columns[~(known & near)].tolist()
    return found


def _candidates(
    words: NDArray[np.int64], most: int
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Step 2 by float64: the first pairs that may stay ``[n]``, up to ``most``, their U, V ``[2, n]`` and S ``[n]``.

    U and V come in units of 2^-63.
    """
    points = words.astype(np.float64)
    squares = points[0] * points[0]
    squares += points[1] * points[1]
    candidates = np.flatnonzero(squares < (1 + _MARGIN) * 2.0**126)[:most]
    chosen = np.empty((2, len(candidates)))
    for row, into in zip(points, chosen, strict=True):
        row.take(candidates, out=into, mode="clip")  # another mode would copy through a buffer
    return candidates, chosen, squares.take(candidates, mode="clip") * 2.0**-126


def _factors(squares: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """``d g(S)``; infinite where S is 0, and not a number where it is beyond 1."""
    factors = np.log(squares)
    factors /= squares
    factors *= -2 * deviation * deviation
    np.sqrt(factors, out=factors)
    return factors


def _common_error(deviation: float, largest: float, least: float) -> float:
    """A bound on :func:`_error` for every S from 2^-20 on with ``L >= least >= 2^-20``, and every y up to ``largest``.

    There ``|d U g| <= d sqrt(2 L)``, ``L < 13.9`` and ``g < 5400``: 338 u d, ``16 u d sqrt(2 / L)`` and 22 u d.
    """
    return ((360 + 23 / math.sqrt(least)) * deviation + 4 * largest) * _UNIT


def _error(reals: _Floats, factors: _Floats, logarithms: _Floats, means: _Floats) -> _Floats:
    """A bound on the error of step 3, four times what the analysis needs, from ``reals = |d U g|`` and |y|.

    With u = 2^-53, L = -ln(S) and S in [2^-20, 1 - 2^-20]: the first 64 bits give U to ``u |U| + 2^-63``, hence S to
    ``7 u S``, and L to ``7 u + 8 u L`` if the logarithm is good to 4 units in the last place; then ``d U g`` is good to
    ``|d U g| (12 + 3.5 / L) u + d g 2^-63``, and its sum with y to ``(|d U g| + |y|) u`` more (README.md, section 4).
    """
    return reals * (64 * _UNIT + 16 * _UNIT / logarithms) + factors * 2.0**-61 + means * (4 * _UNIT)


def further_bits(key: bytes, pair: int) -> tuple[int, int]:
    """The 448 further bits of each of the two uniforms of a pair."""
    octets = bytearray(2 * _MORE_BYTES)
    Keystream(key, _MORE_AT + _MORE_STRIDE * pair).into(octets)
    return int.from_bytes(octets[:_MORE_BYTES], "big"), int.from_bytes(octets[_MORE_BYTES:], "big")


def refine(
    words: tuple[int, int], deviation: float, further: tuple[int, int], means: tuple[float, float]
) -> tuple[int, int] | None:
    """Step 4: two values from all bits of a pair, or nothing if it is dropped.

    Args:
        words: The first 64 bits of U and of V, as signed numbers.
        deviation: d.
        further: The 448 bits that follow.
        means: The y of each of the two.
    """
    with decimal.localcontext(_DIGITS):
        u, v = ((Decimal(((word << 448) + more) * 2 + 1) / _SCALE) for word, more in zip(words, further, strict=True))
        square = u * u + v * v
        if square >= 1:
            return None
        factor = Decimal(deviation) * (-2 * square.ln() / square).sqrt()
        return _nearest(u * factor + Decimal(means[0])), _nearest(v * factor + Decimal(means[1]))


def _nearest(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR))
