"""Shamir's secret sharing of many 32-byte secrets at a time.

A. Shamir, *How to share a secret*, Communications of the ACM 22 (1979): a secret s is the value at 0
of a random polynomial f of degree < t over a field; holder x gets f(x). Any t shares fix f; any
t - 1 fit every secret equally well.

The field is the integers modulo p = 2^256 + 297 (:mod:`wardround.common.secagg.field`). Every secret
has a polynomial of its own.

**Splitting.** f is drawn by its values rather than by its coefficients: f(0) = s, and f(1), …,
f(t - 1) are uniform. Exactly one polynomial of degree < t goes through t given points, so this is
the same distribution as that of uniform coefficients. The shares of the first t - 1 holders are
thus the drawn values themselves; those of the others are linear combinations with Lagrange's
coefficients for the nodes 0, …, t - 1, which are integers:

    f(x) = sum_{j=0}^{t-1} (-1)^(t-1-j) C(x, j) C(x-j-1, t-1-j) f(j)        for integers x >= t.

The drawn values are uniform strings of 256 bits: at most 297 / 2^256 from uniform on the field for
each value.

**Recovering.** s = f(0) = sum_j w_j f(x_j) with w_j = prod_{m != j} x_m / (x_m - x_j). The weights
depend on who answers alone and serve all secrets of a round.

Own code, because no maintained library shares strings of 32 bytes at this speed: PyCryptodome's
works in GF(2^128) (secrets of 16 bytes), one product of Python integers at a time, and takes about a
tenth of a second for two secrets of 50 holders; ``shamirs`` and ``secretshare`` are pure Python too,
the others share bytes in GF(2^8). What is hand-made is this page and the arithmetic of the field;
both are held against an independent implementation by ``tests/vectors/shamir``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from math import comb, prod
from operator import mul
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.secagg.field import (
    ELEMENT_BYTES,
    MOST_TERMS,
    PRIME,
    ROW_BYTES,
    combinations,
    weight_digits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.field import Digits, Elements

__all__ = ["PRIME", "SECRET_BYTES", "SHARE_BYTES", "combine", "lagrange_weights", "split"]

SECRET_BYTES: Final = 32
SHARE_BYTES: Final = ELEMENT_BYTES
MOST_HOLDERS: Final = MOST_TERMS


def split(secrets: Sequence[bytes], *, threshold: int, holders: int, random: RandomSource) -> list[bytes]:
    """Share every secret among all holders.

    Args:
        secrets: Of 32 bytes each, little-endian integers.
        threshold: Number t of shares that recover a secret; t - 1 tell nothing about it.
        holders: Number n of holders, t <= n <= 1024; they stand at x = 1, …, n.
        random: Asked once for 32 (t - 1) bytes a secret.

    Returns:
        One string for each holder, the one of x = i + 1 at place i: its shares of all secrets in
        their order, 33 bytes each, little-endian integers below p.

    Raises:
        ValueError: A secret has another length, the numbers are out of order, or ``random`` gave
            too little or too much.
    """
    _check_sizes(secrets, threshold, holders)
    points = np.zeros((holders + 1, len(secrets), ROW_BYTES), dtype=np.uint8)  # f(0), f(1), …, f(n)
    points[0, :, :SECRET_BYTES] = _strings(b"".join(secrets), 1, len(secrets), SECRET_BYTES)[0]
    drawn = random((threshold - 1) * len(secrets) * SECRET_BYTES)
    points[1:threshold, :, :SECRET_BYTES] = _strings(drawn, threshold - 1, len(secrets), SECRET_BYTES)
    points[threshold:] = combinations(_extension(threshold, holders), points[:threshold])
    return [shares.tobytes() for shares in points[1:, :, :SHARE_BYTES]]


def lagrange_weights(holders: Sequence[int], *, threshold: int = 1) -> tuple[int, ...]:
    """The weights that recover f(0) from the shares of these holders, in their order.

    Args:
        holders: The holders' numbers x, from 1.
        threshold: How many there have to be.

    Returns:
        Integers in [0, p). One modular inversion serves them all.

    Raises:
        ValueError: There are too few or too many holders, one is named twice, or a number is out of range.
    """
    if not max(threshold, 1) <= len(holders) <= MOST_HOLDERS:
        raise ValueError(f"{len(holders)} holders, and {threshold} are needed")
    if len(set(holders)) != len(holders):
        raise ValueError("a holder is named twice")
    if any(not 1 <= holder <= MOST_HOLDERS for holder in holders):
        raise ValueError(f"holders have numbers from 1 to {MOST_HOLDERS}")
    every = prod(holders)
    below = [x * prod(other - x for other in holders if other != x) % PRIME for x in holders]
    return tuple(every * inverse % PRIME for inverse in _inverses(below))


def combine(weights: Sequence[int], shares: Sequence[bytes]) -> list[bytes]:
    """Recover all secrets.

    Args:
        weights: Of :func:`lagrange_weights`.
        shares: For each weight, that holder's string of :func:`split`: its shares of all secrets.

    Returns:
        The secrets, 32 bytes each. Shares of too few holders, or a changed share, give another
        secret: that the shares are genuine is for the caller to know.

    Raises:
        ValueError: There are no weights, numbers or lengths of weights and shares differ, a share
            is no element of the field, or what was recovered is no secret of 32 bytes.
    """
    if not weights or len(weights) != len(shares):
        raise ValueError(f"{len(shares)} holders' shares and {len(weights)} weights")
    values = _elements(shares)
    found = combinations(weight_digits([weights]), values)[0]
    if found[:, SECRET_BYTES:].any():
        raise ValueError("the shares do not belong to a secret of 32 bytes")
    return [secret.tobytes() for secret in found[:, :SECRET_BYTES]]


def _check_sizes(secrets: Sequence[bytes], threshold: int, holders: int) -> None:
    """With a threshold of 1 a share would be the secret."""
    if not 2 <= threshold <= holders <= MOST_HOLDERS:
        raise ValueError(f"a threshold of {threshold} among {holders} holders: 2 <= t <= n <= {MOST_HOLDERS}")
    if any(len(secret) != SECRET_BYTES for secret in secrets):
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")


@lru_cache(maxsize=8)
def _extension(threshold: int, holders: int) -> Digits:
    """Lagrange's coefficients on the nodes 0, …, t - 1 at x = t, …, n, as digits ``[q, n - t + 1, t]``.

    They are public, and the same in every round.
    """
    last = threshold - 1
    return weight_digits(
        [
            [_balanced((-1) ** (last - j) * comb(x, j) * comb(x - j - 1, last - j)) for j in range(threshold)]
            for x in range(threshold, holders + 1)
        ]
    )


def _balanced(number: int) -> int:
    """A representative modulo p; a number that is small already, of either sign, stays as it is."""
    return number if abs(number) < PRIME else number % PRIME


def _inverses(numbers: Sequence[int]) -> list[int]:
    """All inverses modulo p with one inversion (Montgomery, Mathematics of Computation 48, 1987, section 10.3.1)."""
    products = list(accumulate(numbers, lambda left, right: mul(left, right) % PRIME, initial=1))
    inverse = pow(products[-1], -1, PRIME)
    found = []
    for number, before in zip(reversed(numbers), reversed(products[:-1]), strict=True):
        found.append(inverse * before % PRIME)
        inverse = inverse * number % PRIME
    return found[::-1]


def _elements(shares: Sequence[bytes]) -> Elements:
    """Every holder's shares as rows, shape ``[t, s, 34]``.

    Raises:
        ValueError: Lengths differ or are no multiple of 33 bytes, or a share is p or above.
    """
    length = len(shares[0])
    if length % SHARE_BYTES or any(len(text) != length for text in shares):
        raise ValueError(f"every holder's shares have one length, a multiple of {SHARE_BYTES} bytes")
    values = np.zeros((len(shares), length // SHARE_BYTES, ROW_BYTES), dtype=np.uint8)
    values[:, :, :SHARE_BYTES] = _strings(b"".join(shares), *values.shape[:2], SHARE_BYTES)
    # A share below 2^256 has no 33rd byte, and nearly all are.
    for long in values[values[:, :, SECRET_BYTES] != 0]:
        if int.from_bytes(long.tobytes(), "little") >= PRIME:
            raise ValueError("a share is not below the prime")
    return values


def _strings(text: bytes, rows: int, columns: int, length: int) -> Elements:
    """Strings of one length that follow each other, shape ``[rows, columns, length]``."""
    if len(text) != rows * columns * length:
        raise ValueError(f"{rows * columns * length} bytes were asked for, not {len(text)}")
    return np.frombuffer(text, dtype=np.uint8).reshape(rows, columns, length)
