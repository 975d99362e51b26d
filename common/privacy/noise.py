"""Exact integer noise and Poisson sampling from an unpredictable source.

:class:`RoundedGaussian` gives ``round(y + d Z)`` for real y, a standard normal Z and the deviation d in lattice units:

1. A fresh 32-byte key is drawn and expanded by AES-256-CTR; it makes one array and is kept nowhere.
2. U and V are uniform on (0, 1), each 512 bits of the stream: 32 bits now, 32 and then 448 more only where they are
   asked for. They give the two independent normals ``R cos(2 pi V)`` and ``R sin(2 pi V)`` with ``R = sqrt(-2 ln U)``
   (Box and Muller, A Note on the Generation of Random Normal Deviates, 1958).
3. float32 computes ``y + d Z`` from the first 32 bits. Where the nearest boundary between two integers is farther away
   than the error can be (:func:`_error_of_32`), rounding the float is rounding the exact value, whatever the other 480
   bits are.
4. For the few others float64 does the same from 64 bits (:func:`_error_of_64`).
5. What is left is computed from all 512 bits with 200 decimal digits.

The result is a function of y and the 512-bit uniforms; floats only find it faster. Its total variation distance from
``round(y + d Z)`` is below 2^-240 for each value, for uniform stream bits (README.md, section 4).
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.common.crypto.randomness import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource

    _Reals = NDArray[np.float64]
    _Singles = NDArray[np.float32]
    _Words = NDArray[np.uint32]
    _Places = NDArray[np.intp]

LEAST_DEVIATION: Final = 16.0
LARGEST_DEVIATION: Final = 2.0**16
LARGEST_MEAN: Final = 2.0**51
"""Largest magnitude of a value that gets noise: with the noise it is an integer that float64 and int64 hold."""

BLOCK: Final = 1 << 15
"""Values that get noise at a time: what is worked on stays in the processor's second-level cache."""

_LEAST_32: Final = 2.0**-10
_MOST_32: Final = 8.3
"""Where ``L = -ln U`` lies for float32: nearer to 0 it knows too little of L, and beyond U has too few bits."""

_LEAST_64: Final = 2.0**-30
_MOST_64: Final = 29.0

_UNIT_32: Final = 2.0**-24
_UNIT_64: Final = 2.0**-53

_MORE_AT: Final = 1 << 64
"""Where the second 32 bits of the pairs that ask for them begin in the stream, one pair after the other."""
_REST_AT: Final = 1 << 65
_REST_STRIDE: Final = 128
_REST_BYTES: Final = 56
"""Where the last 448 bits begin: of the j-th pair that asked for more 128 j bytes later, first of U and then of V."""

_DIGITS: Final = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN, Emin=-(10**6), Emax=10**6)
_SCALE: Final = Decimal(1 << 513)
_LEAST_TERM: Final = Decimal(10) ** -200


class _Open(NamedTuple):
    """The pairs of one block that float32 does not decide.

    Attributes:
        first: Place of the block in the array.
        size: Of the block.
        pairs: Their numbers in the block.
        words: The first 32 bits of their U and V, ``[2, pairs]``.
    """

    first: int
    size: int
    pairs: NDArray[np.intp]
    words: _Words

    def places(self) -> _Places:
        """Where their values are in the array, ``[2, pairs]``; -1 for what an odd size has no room for."""
        found = np.stack([self.pairs, self.pairs + -(-self.size // 2)])
        return np.where(found < self.size, found + self.first, -1)


class RoundedGaussian:
    """Noise for one array: :meth:`next_block` for its values one after the other, and :meth:`decide` at the end.

    Args:
        deviation: Standard deviation before rounding, d, in lattice units, from 16 to 2^16.
        random: Draws the 32 bytes of the key.

    Raises:
        ValueError: The deviation is out of range.
    """

    def __init__(self, deviation: float, random: RandomSource) -> None:
        if not LEAST_DEVIATION <= deviation <= LARGEST_DEVIATION:
            raise ValueError(f"a deviation lies between 16 and 2^16 lattice units, not {deviation}")
        self._deviation = deviation
        self._key = draw(random, 32)
        self._stream = Keystream(self._key)
        self._done = 0
        self._open: list[_Open] = []
        self._octets = np.empty(4 * BLOCK, dtype=np.uint8)
        self._values, self._nearest = (np.empty(BLOCK, dtype=np.float32) for _ in range(2))
        self._radii, self._angles = (np.empty(BLOCK // 2, dtype=np.float32) for _ in range(2))

    def around(self, means: NDArray[np.float64]) -> NDArray[np.int64]:
        """``round(y + deviation * Z)`` for each y, with an independent standard normal Z.

        Args:
            means: All values of the array, float64 ``[size]``; finite, of magnitude 2^51 at most. Beyond 2^20 it takes
                several times as long, beyond 2^44 far longer, because floats decide fewer values.

        Returns:
            int64 ``[size]``. No value is farther than 27 deviations from y; one is farther than 14 with a probability
            below 2^-140.

        Raises:
            TypeError: The values are not float64.
            ValueError: A value is not finite or too large.
        """
        if means.dtype != np.float64:
            raise TypeError(f"values that get noise are float64, not {means.dtype}")
        values = np.empty(means.size, dtype=np.int64)
        for first in range(0, means.size, BLOCK):
            block = slice(first, first + BLOCK)
            part = means[block].astype(np.float32)
            values[block] = self.next_block(part, largest_magnitude(means[block]))
        places = self.undecided()
        values[places] = self.decide(means[places])
        return values

    def next_block(self, means: NDArray[np.float32], largest: float) -> NDArray[np.float32]:
        """The next values of the array, :data:`BLOCK` at most, as far as float32 decides them.

        Args:
            means: Every y, rounded to float32.
            largest: The caller's word that no magnitude exceeds it and that all are finite.

        Returns:
            The integers, good until the next call; anything where it is undecided.
        """
        if not largest <= LARGEST_MEAN:
            raise ValueError("values that get noise are finite and of magnitude 2^51 at most")
        size = means.size
        half = -(-size // 2)  # pairs: their cosines give the first half of the values, their sines the other
        octets = self._octets[: 8 * half]
        self._stream.into(octets)
        words = octets.view("<u4").reshape(2, half)
        values, nearest, radii = self._values[: 2 * half], self._nearest[: 2 * half], self._radii[:half]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # of pairs that stay undecided
            normals_of_32(words, self._deviation, radii, self._angles[:half], values.reshape(2, half))
            values[:size] += means
            np.rint(values, out=nearest)
            values -= nearest
        pairs = np.flatnonzero(~_sure_of_32(values.reshape(2, half), radii, self._deviation, largest))
        self._open.append(_Open(self._done, size, pairs, words.take(pairs, axis=1)))
        self._done += size
        nearest += np.float32(0)  # no zero keeps the sign of what was rounded
        return nearest[:size]

    def undecided(self) -> NDArray[np.intp]:
        """The places in the array that :meth:`decide` gives values for."""
        places, _ = self._left_open()
        return places[places >= 0]

    def decide(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The integers at the places of :meth:`undecided`, from the y there."""
        places, words = self._left_open()
        here = places >= 0
        found = np.zeros(places.shape)
        found[here] = means
        more, pairs = Keystream(self._key, _MORE_AT), words.shape[1]
        for first in range(0, pairs, BLOCK):
            block = slice(first, min(first + BLOCK, pairs))
            wide = words[:, block].astype(np.uint64) << np.uint64(32)
            octets = np.empty(4 * wide.size, dtype=np.uint8)
            more.into(octets)
            wide |= octets.view("<u4").reshape(wide.shape)
            found[:, block] = self._decided(wide, found[:, block], first)
        return found[here]

    def _left_open(self) -> tuple[_Places, _Words]:
        """Places and first words of all undecided pairs, ``[2, pairs]`` each; a place that does not exist is -1."""
        if not self._open:
            return np.empty((2, 0), dtype=np.intp), np.empty((2, 0), dtype=np.uint32)
        places = np.concatenate([block.places() for block in self._open], axis=1)
        return places, np.concatenate([block.words for block in self._open], axis=1)

    def _decided(self, words: NDArray[np.uint64], means: _Reals, asked: int) -> _Reals:
        """Steps 4 and 5 for pairs of which the first 64 bits are given, ``[2, pairs]``."""
        found, sure = _from_64(words, means, self._deviation)
        for column in np.flatnonzero(~sure).tolist():
            bits = int(words[0, column]), int(words[1, column])
            own = float(means[0, column]), float(means[1, column])
            found[:, column] = refine(bits, rest_of(self._key, asked + column), self._deviation, own)
        return found + 0.0


def normals_of_32(words: _Words, deviation: float, radii: _Singles, angles: _Singles, into: _Singles) -> None:
    """Step 3 before the mean: ``d Z`` by float32.

    Args:
        words: The first 32 bits of U and of V, ``[2, pairs]``.
        deviation: d.
        radii: ``[pairs]``, for ``d R``.
        angles: ``[pairs]``, to work with.
        into: ``[2, pairs]``, for the values.
    """
    np.copyto(radii, words[0], casting="same_kind")
    radii *= np.float32(2.0**-32)
    np.log(radii, out=radii)
    radii *= np.float32(-2 * deviation * deviation)
    np.sqrt(radii, out=radii)
    np.copyto(angles, words[1].view("<i4"), casting="same_kind")  # whole turns more or less
    angles *= np.float32(math.pi * 2.0**-31)
    np.cos(angles, out=into[0])
    np.sin(angles, out=into[1])
    into *= radii


def _sure_of_32(values: _Singles, radii: _Singles, deviation: float, largest: float) -> NDArray[np.bool_]:
    """The pairs of which float32 rounds both values rightly, ``[pairs]``.

    Args:
        values: Reals less the nearest integers, ``[2, pairs]``.
        radii: ``d R``, ``[pairs]``.
        deviation: d.
        largest: No mean exceeds it.
    """
    limit = np.float32(0.5 - _error_of_32(deviation, largest))
    near = values < limit
    near &= values > -limit
    sure: NDArray[np.bool_] = near[0]
    sure &= near[1]
    sure &= radii > np.float32(deviation * math.sqrt(2 * _LEAST_32))
    sure &= radii < np.float32(deviation * math.sqrt(2 * _MOST_32))
    return sure


def _error_of_32(deviation: float, largest: float) -> float:
    """A bound on the error of step 3 for ``2^-10 <= L <= 8.3`` and every y up to ``largest``.

    Twice what the analysis needs (README.md, section 4), if logarithm, sine and cosine are good to 4 units in the last
    place.
    """
    return (256 * deviation + 8 * largest) * _UNIT_32


def _from_64(words: NDArray[np.uint64], means: _Reals, deviation: float) -> tuple[_Reals, NDArray[np.bool_]]:
    """Step 4: the integers ``[2, pairs]``, and for which pairs both are right, whatever the bits that are left."""
    reals, radii, logarithms = normals_of_64(words, deviation)
    with np.errstate(invalid="ignore", divide="ignore"):
        reals += means
        values = np.rint(reals)
        errors = _error_of_64(deviation, radii, logarithms, np.abs(means))
        sure = (np.abs(reals - values) + errors < 0.5).all(axis=0)
    return values, sure & (logarithms > _LEAST_64) & (logarithms < _MOST_64)


def normals_of_64(words: NDArray[np.uint64], deviation: float) -> tuple[_Reals, _Reals, _Reals]:
    """``d Z`` ``[2, pairs]`` by float64 from 64 bits of U and of V; ``d R`` and L, ``[pairs]``."""
    with np.errstate(divide="ignore", invalid="ignore"):  # where U may be 0
        logarithms = -np.log(words[0] * 2.0**-64)
        radii = deviation * np.sqrt(2 * logarithms)
        angles = words[1].view(np.int64) * (math.pi * 2.0**-63)
        return radii * np.stack([np.cos(angles), np.sin(angles)]), radii, logarithms


def _error_of_64(deviation: float, radii: _Reals, logarithms: _Reals, means: _Reals) -> _Reals:
    """A bound on the error of step 4 for ``2^-30 <= L <= 29``, twice what the analysis needs (README.md, section 4)."""
    missing = np.exp(logarithms) * 2.0**-64
    return (64 * radii + 8 * means) * _UNIT_64 + 2 * deviation * (2 * _UNIT_64 + missing) / np.sqrt(2 * logarithms)


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


def largest_magnitude(values: NDArray[np.float64] | NDArray[np.float32]) -> float:
    """0 for no values; not a number if one of them is none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def _words(stream: Keystream, count: int) -> NDArray[np.uint64]:
    """The next 64-bit words of a stream, little-endian."""
    octets = np.empty(8 * count, dtype=np.uint8)
    stream.into(octets)
    return octets.view("<u8")


def rest_of(key: bytes, asked: int) -> tuple[int, int]:
    """The last 448 bits of each of the two uniforms of a pair, which was the ``asked``-th to ask for more."""
    octets = bytearray(2 * _REST_BYTES)
    Keystream(key, _REST_AT + _REST_STRIDE * asked).into(octets)
    return int.from_bytes(octets[:_REST_BYTES], "big"), int.from_bytes(octets[_REST_BYTES:], "big")


def refine(
    words: tuple[int, int], rest: tuple[int, int], deviation: float, means: tuple[float, float]
) -> tuple[int, int]:
    """Step 5: two values from all bits of a pair.

    Args:
        words: The first 64 bits of U and of V.
        rest: The 448 bits that follow.
        deviation: d.
        means: The y of each of the two.
    """
    with decimal.localcontext(_DIGITS):
        u, v = ((Decimal(((word << 448) + more) * 2 + 1) / _SCALE) for word, more in zip(words, rest, strict=True))
        radius = Decimal(deviation) * (-2 * u.ln()).sqrt()
        cosine, sine = _cosine_and_sine(2 * _pi() * v)
        return _nearest(radius * cosine + Decimal(means[0])), _nearest(radius * sine + Decimal(means[1]))


def _nearest(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR))


def _cosine_and_sine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """By their series, for an angle in [0, 2 pi), to 195 digits: no term is above 100."""
    sums, term, power = [Decimal(0), Decimal(0)], Decimal(1), 0
    while power < angle or term > _LEAST_TERM:
        sums[power % 2] += term if power % 4 < 2 else -term
        power += 1
        term = term * angle / power
    return sums[0], sums[1]


@cache
def _pi() -> Decimal:
    """To all digits that are kept, by Machin's formula in whole numbers, with ten digits to spare."""
    digits = _DIGITS.prec + 10
    return Decimal(4 * (4 * _arc_tangent(5, digits) - _arc_tangent(239, digits))).scaleb(-digits, _DIGITS)


def _arc_tangent(inverse: int, digits: int) -> int:
    """``10^digits arctan(1 / inverse)``; every term is off by 2 at most."""
    total, power, odd = 0, 10**digits // inverse, 1
    while power:
        total += power // odd if odd % 4 == 1 else -(power // odd)
        power, odd = power // inverse**2, odd + 2
    return total
