"""The weighted sum of the sites' updates: in place, in blocks, in a fixed order of sites.

The order makes the sum the same bit for bit whichever reply arrives first. Memory is one vector and
one block, plus replies that wait for their turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.ids import SiteId
    from wardround.common.vector import Vector

BLOCK: Final = 1 << 15
"""Values a block: small enough to stay in the processor's cache."""

LARGEST: Final = float(np.finfo(np.float32).max) / 2
"""What no sum of updates may come near: float32 would overflow."""


class WeightedTotal:
    """Sums ``weight * update`` over sites, always in the order given.

    Args:
        order: Every site that may answer, in the order in which their updates are added.
        size: Number of values P in an update.
    """

    def __init__(self, order: Sequence[SiteId], size: int) -> None:
        self._order = tuple(order)
        self._turn = 0
        self._waiting: dict[SiteId, tuple[Vector, float] | None] = {}
        self._block = np.empty(min(BLOCK, size), dtype=np.float32)
        self.vector: Vector = np.zeros(size, dtype=np.float32)
        self.weight = 0.0

    def add(self, site: SiteId, update: Vector, weight: float) -> None:
        """Add a site's update of shape ``[P]`` when its turn has come, else keep it until then."""
        self._put(site, (update, weight))

    def skip(self, site: SiteId) -> None:
        """The site will not answer."""
        self._put(site, None)

    def _put(self, site: SiteId, entry: tuple[Vector, float] | None) -> None:
        if site in self._waiting or site not in self._order[self._turn :]:
            raise ValueError("a site answers once, and only if it was asked")
        self._waiting[site] = entry
        while self._turn < len(self._order) and self._order[self._turn] in self._waiting:
            due = self._waiting.pop(self._order[self._turn])
            self._turn += 1
            if due is not None:
                self._accumulate(*due)

    def _accumulate(self, update: Vector, weight: float) -> None:
        factor = np.float32(weight)
        for start in range(0, self.vector.size, BLOCK):
            target = self.vector[start : start + BLOCK]
            block = self._block[: target.size]
            np.multiply(update[start : start + BLOCK], factor, out=block)
            target += block
        self.weight += weight


def all_within(update: Vector, limit: float) -> bool:
    """Whether every value of an update of shape ``[P]`` lies in [-limit, limit]; NaN never does.

    No value exceeds the vector's Euclidean norm, and that is one fast pass; the exact, slower answer
    is sought only when the norm is too large or not finite. Allocates nothing.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(np.dot(update, update))
    if squares <= (limit / 2) ** 2:  # half, for the rounding of a long float32 sum
        return True
    return bool(update.min() >= -limit and update.max() <= limit)
