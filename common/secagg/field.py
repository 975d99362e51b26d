"""The prime field of the shares, and linear combinations of many of its elements at a time.

Splitting and recovering secrets are both matrix products over the integers modulo

    p = 2^256 + 297,

the smallest prime above 2^256, so that every string of 32 bytes is an element. NumPy has no such
integers; :func:`combinations` computes with digits in base 2^16, exactly:

1. weights and values become float64 digits, below 2^16 in magnitude; products of digits are summed
   over the t terms by real matrix products, and over the up to 17 pairs of digits of one
   significance. The sums stay below 17 t 2^32 < 2^47, and float64 holds every integer up to 2^53,
   so nothing is rounded in whichever order the sums are taken;
2. pairs of these sums become limbs, signed digits of base 2^32, in int64 (below 2^63);
3. carries are passed on, and what stands above 2^256 is folded with 2^256 = -297 (mod p).

The number of operations depends on the sizes alone, never on the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Elements = NDArray[np.uint8]
    Digits = NDArray[np.float64]
    Limbs = NDArray[np.int64]

EXCESS: Final = 297
PRIME: Final = 2**256 + EXCESS

ELEMENT_BYTES: Final = 33
"""An element's length on the wire, little-endian."""

ROW_BYTES: Final = 34
"""Elements lie in rows of 34 bytes: 17 digits of base 2^16."""

MOST_TERMS: Final = 1024
"""Longest sum for which the bounds above hold."""

_DIGITS: Final = ROW_BYTES // 2
_LIMBS: Final = 8
"""Digits of base 2^32 below 2^256."""

_BIAS: Final = 2**20
"""Times p, what makes a value positive; see :func:`_reduce`."""


def weight_digits(weights: Sequence[Sequence[int]]) -> Digits:
    """Integer weights as digits of base 2^16 with the weight's sign, shape ``[q, m, t]``.

    Args:
        weights: ``m`` rows of ``t`` integers, |w| < p; ``q`` is as small as the largest allows.

    Raises:
        ValueError: A row is longer than :data:`MOST_TERMS`, or a weight is too large.
    """
    if any(len(row) > MOST_TERMS for row in weights):
        raise ValueError(f"a sum has at most {MOST_TERMS} terms")
    largest = max(abs(weight) for row in weights for weight in row)
    if largest >= PRIME:
        raise ValueError("a weight is below the prime")
    count = max(1, -(-largest.bit_length() // 16))
    written = b"".join(abs(weight).to_bytes(2 * count, "little") for row in weights for weight in row)
    digits = np.frombuffer(written, dtype="<u2").reshape(len(weights), -1, count).astype(np.float64)
    signs = np.array([[-1.0 if weight < 0 else 1.0 for weight in row] for row in weights])
    return np.ascontiguousarray(np.moveaxis(digits * signs[:, :, np.newaxis], 2, 0))


def combinations(weights: Digits, values: Elements) -> Elements:
    """``sum_j weights[i, j] values[j, k]  mod p`` for every row ``i`` of weights and column ``k``.

    Args:
        weights: Of :func:`weight_digits`, shape ``[q, m, t]``.
        values: Little-endian integers in [0, p), shape ``[t, s, 34]``, contiguous.

    Returns:
        Shape ``[m, s, 34]``; each in [0, p).
    """
    count, rows, terms = weights.shape
    columns = values.shape[1]
    aligned, shifted = (np.zeros(((count + _DIGITS) // 2 + 1, rows, columns)) for _ in range(2))
    for odd in (0, 1):
        digits = values.view("<u2")[:, :, odd::2].transpose(0, 2, 1).astype(np.float64, order="C")
        width = digits.shape[1]
        by_term = digits.reshape(terms, width * columns)
        for place in range(count):
            products = (weights[place] @ by_term).reshape(rows, width, columns).transpose(1, 0, 2)
            start, rest = divmod(place + odd, 2)
            (shifted if rest else aligned)[start : start + width] += products
    limbs = shifted.astype(np.int64) << 16
    limbs += aligned.astype(np.int64)
    return _reduce(limbs.reshape(len(limbs), rows * columns)).reshape(rows, columns, ROW_BYTES)


def _reduce(limbs: Limbs) -> Elements:
    """Integers of ``K`` <= 18 limbs, shape ``[K, N]``, modulo p as rows of bytes, shape ``[N, 34]``.

    With v = low + 2^256 high and 0 <= low < 2^256: v = low - 297 high (mod p).

    1. Fold the limbs from the eighth on, the last first: |v| < 2^270. Adding 2^20 p makes v positive.
    2. Fold what is still above: 0 <= high < 2^21, so -2^30 < v < 2^256.
    3. Fold again: high is 0, or it is -1 and v = low + 297 < p. Either way v is in [0, p).
    """
    _carry(limbs)  # step 1
    for place in reversed(range(_LIMBS, limbs.shape[0])):
        limbs[place - _LIMBS] -= EXCESS * limbs[place]
    low = limbs[:_LIMBS]
    low[0] += EXCESS * _BIAS  # step 1: 2^20 p = 2^20 2^256 + 2^20 297
    low[0] -= EXCESS * (_carry_out(low) + _BIAS)  # step 2
    low[0] -= EXCESS * _carry_out(low)  # step 3
    top = _carry_out(low)
    rows = np.zeros((low.shape[1], 2 * _LIMBS + 1), dtype="<u2")
    rows[:, : 2 * _LIMBS] = low.astype("<u4").T.copy().view("<u2")
    rows[:, 2 * _LIMBS] = top
    return rows.view(np.uint8)


def _carry(limbs: Limbs) -> None:
    """Leave every limb but the last in [0, 2^32); the last takes the carry and keeps its sign."""
    for place in range(limbs.shape[0] - 1):
        limbs[place + 1] += limbs[place] >> 32
        limbs[place] &= 0xFFFFFFFF


def _carry_out(low: Limbs) -> NDArray[np.int64]:
    """Leave every limb in [0, 2^32) and return what stands above them."""
    _carry(low)
    out: NDArray[np.int64] = low[-1] >> 32
    low[-1] &= 0xFFFFFFFF
    return out
