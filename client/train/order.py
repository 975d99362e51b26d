"""In which order a site's images are used: a stateless function of seed and position.

A site's work is one endless stream, the concatenation of permutations of its training images, one
for each pass. A round consumes the next piece. Any round can so be computed again, after a crash
or by another process, from the number of samples consumed before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sample_order(indices: NDArray[np.int64], seed: int, start: int, samples: int) -> NDArray[np.int64]:
    """Positions ``start`` to ``start + samples`` of the stream.

    Args:
        indices: The training images, at least one; pass ``e`` is their permutation under
            ``SeedSequence([seed, e])``.
        seed: Non-negative.
        start: Samples consumed in earlier rounds.
        samples: Samples of this round.

    Returns:
        ``[samples]`` entries of ``indices``.

    Raises:
        ValueError: ``indices`` is empty, or ``start`` or ``samples`` is negative.
    """
    if len(indices) == 0 or start < 0 or samples < 0:
        raise ValueError("sample_order needs indices, and start and samples from 0 up")
    if samples == 0:
        return indices[:0].copy()
    first, last = start // len(indices), (start + samples - 1) // len(indices)
    passes = [_permutation(indices, seed, number) for number in range(first, last + 1)]
    offset = start - first * len(indices)
    return np.concatenate(passes)[offset : offset + samples]


def _permutation(indices: NDArray[np.int64], seed: int, number: int) -> NDArray[np.int64]:
    return np.random.default_rng(np.random.SeedSequence([seed, number])).permutation(indices)


def batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut ``order`` into batches of ``size``; the last may be smaller.

    A single left-over image takes a companion from the batch before it, because batch
    normalisation cannot work on one: 9 images in fours are 4, 3 and 2. One image is a batch of its
    own only if it is all there is, or if ``size`` is 1.
    """
    cuts = list(range(size, len(order), size))
    if cuts and size > 2 and len(order) - cuts[-1] == 1:
        cuts[-1] -= 1
    return np.split(order, cuts) if len(order) else []
