"""What the runtime tells a study run beside its messages: who is who, who is silent, when to look again.

In one process nothing of it is needed. A deployed coordinator's Grid carries a :class:`Surroundings` of its own: the
gateway knows which certificate stands behind which node, and whose heartbeats stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.server.rounds.state import RoundRecord


def _heard(_: SiteId) -> None:
    """In one process every site answers, or its silence is an answer."""


def _nobody(*_: object) -> None:
    """Nobody waits, and nobody is told."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a runtime knows and wants to know.

    Attributes:
        sites: Flower node id of every site, where the runtime knows it; None: the nodes are asked.
        silent: Why no answer of a site is to be expected now, in words; None where there may be one.
        wait: Returns when there may be a reply, at the latest after so many seconds.
        gather: Returns when at least so many of these sites are not silent.
        opened: Told the number of each round, or of the last validation, before any site is asked; again if it is tried
            again.
        committed: Told each round that is durable.
    """

    sites: Mapping[SiteId, int] | None = None
    silent: Callable[[SiteId], str | None] = _heard
    wait: Callable[[float], object] = time.sleep
    gather: Callable[[Collection[SiteId], int], object] = _nobody
    opened: Callable[[int], object] = _nobody
    committed: Callable[[RoundRecord], object] = _nobody


ALONE: Final = Surroundings()
"""Of a grid that knows nothing more."""


def surroundings_of(grid: Grid) -> Surroundings:
    """What the runtime behind a grid tells."""
    found = getattr(grid, "surroundings", ALONE)
    if not isinstance(found, Surroundings):
        raise TypeError("the grid's surroundings are of another kind")
    return found
