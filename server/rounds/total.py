"""The weighted sum of the sites' updates: in place, in blocks, in a fixed order of sites.

The order makes the sum the same bit for bit whichever reply arrives first. Memory is one vector and
one block; replies that wait for their turn lie on a shelf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.server.rounds.shelf import Shelf

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
        shelf: Where updates wait for their turn; None: in memory.
    """

    def __init__(self, order: Sequence[SiteId], size: int, shelf: Shelf | None = None) -> None:
        self._order = tuple(order)
        self._turn = 0
        self._waiting: dict[SiteId, float | None] = {}
        self._shelf = Shelf() if shelf is None else shelf
        self._shelf.clear()
        self._block = np.empty(min(BLOCK, size), dtype=np.float32)
        self.vector: Vector = np.zeros(size, dtype=np.float32)
        self.weight = 0.0

    def add(self, site: SiteId, update: Vector, weight: float) -> None:
        """Add a site's update of shape ``[P]`` when its turn has come, else keep it until then."""
        self._check(site)
        if site == self._order[self._turn]:
            self._turn += 1
            self._accumulate(update, weight)
        else:
            self._shelf.put(site, update)
            self._waiting[site] = weight
        self._go_on()

    def skip(self, site: SiteId) -> None:
        """The site will not answer."""
        self._check(site)
        self._waiting[site] = None
        self._go_on()

    def _check(self, site: SiteId) -> None:
        if site in self._waiting or site not in self._order[self._turn :]:
            raise ValueError("a site answers once, and only if it was asked")

    def _go_on(self) -> None:
        while self._turn < len(self._order) and self._order[self._turn] in self._waiting:
            site = self._order[self._turn]
            weight = self._waiting.pop(site)
            self._turn += 1
            if weight is not None:
                self._accumulate(self._shelf.take(site), weight)

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
