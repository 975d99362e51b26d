"""Masks: the AES-256-CTR keystreams of seeds, added to a vector of ring values in place.

PRG(seed) is the keystream of the seed, read as little-endian unsigned integers of the ring's size: value i of the
mask is bytes ``[i * b, (i + 1) * b)`` of the stream, b being 2 or 4. All additions are modulo 2^bits, which is what
numpy's unsigned integers do, so a mask added at one site and subtracted at another cancels exactly.

Streams are made block by block into one small buffer; for each block of the vector all seeds have their turn while
the block lies in the processor's cache. Nothing of the vector's size is allocated. A range of the vector may be
given, so that callers can run several ranges at once on threads of their own: AES and numpy let go of the
interpreter's lock (10 seeds on 10 million values: 32 ms on one thread, 17 to 20 ms on two).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from wardround.common.crypto.keystream import Keystream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardround.common.secagg.ring import RingVector

Sign = Literal[1, -1]

ALIGNMENT: Final = 8
"""Ranges begin at multiples of this many values: 16 or 32 bytes, whole blocks of AES."""

_BLOCK_BYTES: Final = 512 * 1024
"""On one thread 128 KiB to 2 MiB are equally fast; on two, smaller blocks wait for the interpreter's lock too often."""


def add_masks(
    target: RingVector, seeds: Sequence[tuple[bytes, Sign]], *, start: int = 0, stop: int | None = None
) -> None:
    """Add the masks of all seeds to ``target[start:stop]``, in place.

    Args:
        target: Ring values ``[size]``, contiguous and writable.
        seeds: Seeds of 32 bytes, each with 1 to add its mask or -1 to subtract it.
        start: First value of the range, a multiple of :data:`ALIGNMENT`.
        stop: First value behind the range; the vector's end when not given.

    Raises:
        TypeError: ``target`` does not hold ring values.
        ValueError: It is not contiguous and writable, or a range, sign or seed is not as described.
    """
    stop = _checked_range(target, start, stop)
    streams = [(Keystream(seed, start * target.itemsize), _combiner(sign)) for seed, sign in seeds]
    mask = np.empty(_BLOCK_BYTES // target.itemsize, dtype=target.dtype)
    for first in range(start, stop, mask.size):
        part = target[first : min(first + mask.size, stop)]
        fresh = mask[: part.size]
        octets = fresh.view(np.uint8)
        for stream, combine in streams:
            stream.into(octets)
            combine(part, fresh, part)


def add_keystream(target: RingVector, seed: bytes, sign: Sign, *, start: int = 0, stop: int | None = None) -> None:
    """Add (``sign`` 1) or subtract (-1) the mask of one seed; otherwise as :func:`add_masks`."""
    add_masks(target, ((seed, sign),), start=start, stop=stop)


def split_ranges(size: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``[0, size)`` into at most ``parts`` ranges of nearly equal length that begin where masks may begin.

    Raises:
        ValueError: ``size`` is negative or there is less than one part.
    """
    if size < 0 or parts < 1:
        raise ValueError("a vector of zero or more values is cut into one or more parts")
    cuts = [min(size, -(-size * part // (parts * ALIGNMENT)) * ALIGNMENT) for part in range(parts + 1)]
    return [(first, last) for first, last in pairwise(cuts) if first < last]


def _combiner(sign: int) -> Callable[[RingVector, RingVector, RingVector], object]:
    if sign not in {1, -1}:
        raise ValueError(f"a mask is added (1) or subtracted (-1), not {sign}")
    return np.add if sign == 1 else np.subtract


def _checked_range(target: RingVector, start: int, stop: int | None) -> int:
    if target.dtype not in {np.dtype("<u2"), np.dtype("<u4")}:
        raise TypeError(f"masks are added to little-endian uint16 or uint32, not {target.dtype}")
    if target.ndim != 1 or not target.flags.c_contiguous or not target.flags.writeable:
        raise ValueError("masks are added to a contiguous, writable vector")
    last = target.size if stop is None else stop
    if start % ALIGNMENT or not 0 <= start <= last <= target.size:
        raise ValueError(f"values {start} to {last} are no range of {target.size} that begins at a multiple of 8")
    return last
