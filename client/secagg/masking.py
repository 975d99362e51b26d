"""The site's mask, summed on threads of its own while the model trains.

AES and numpy let go of the interpreter's lock, so that the sum costs training no time where a core is
free. After training only quantising and one addition remain.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np

from wardround.common.secagg.masks import add_masks, split_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from wardround.common.secagg.masks import Sign
    from wardround.common.secagg.ring import Ring, RingVector


class MaskSum:
    """The sum of the masks of an attempt; begins to be computed at once.

    Args:
        ring: The study's.
        size: Number of ring values.
        seeds: Seeds and signs of the masks.
        threads: Threads to compute on, 1 or more.
    """

    def __init__(self, ring: Ring, size: int, seeds: Sequence[tuple[bytes, Sign]], *, threads: int) -> None:
        self._values: RingVector = np.zeros(size, dtype=ring.dtype)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="masks")
        self._parts = [
            self._pool.submit(add_masks, self._values, seeds, start=first, stop=last)
            for first, last in split_ranges(size, threads)
        ]

    def add(self, encoded: RingVector) -> RingVector:
        """Wait for the sum and add an encoded update to it, in place; both have shape ``[size]``.

        Returns:
            The masked update, in the buffer of the sum.
        """
        for part in self._parts:
            part.result()
        np.add(self._values, encoded, out=self._values)
        return self._values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
