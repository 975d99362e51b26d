"""What agents are told over ``Watch``: that a message waits, that there is a new roster or study, that all is well.

Events of one kind that were not sent yet are one event, so a slow agent costs a few bytes. Used in the gateway's loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wardround.common.wire.federation import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wardround.common.ids import SiteId
    from wardround.common.wire.federation import EventKind

ALIVE_SECONDS: Final = 15.0
"""Pause after which an agent is told that nothing happened."""


class _Watcher:
    """One open stream."""

    def __init__(self) -> None:
        self.waiting: dict[EventKind, None] = {}
        self.rung = asyncio.Event()
        self.ended = False

    def ring(self, kind: EventKind) -> None:
        self.waiting[kind] = None
        self.rung.set()

    def end(self) -> None:
        self.ended = True
        self.rung.set()


class Hub:
    """The open streams, one a site: a new one ends the one before.

    Args:
        alive: See :data:`ALIVE_SECONDS`.
    """

    def __init__(self, alive: float = ALIVE_SECONDS) -> None:
        self._alive = alive
        self._watchers: dict[SiteId, _Watcher] = {}
        self._missed: set[SiteId] = set()

    @property
    def watching(self) -> frozenset[SiteId]:
        """Sites with an open stream."""
        return frozenset(self._watchers)

    def wake(self, site: SiteId) -> None:
        """Tell a site that a Flower message waits; one that is not there learns it when it comes."""
        watcher = self._watchers.get(site)
        if watcher is None:
            self._missed.add(site)
        else:
            watcher.ring("work")

    def announce(self, kind: EventKind) -> None:
        """Tell all sites."""
        for watcher in self._watchers.values():
            watcher.ring(kind)

    def stir(self) -> None:
        """Let every stream look whether it may go on."""
        for watcher in self._watchers.values():
            watcher.rung.set()

    def close(self) -> None:
        """End all streams."""
        for site in tuple(self._watchers):
            self.end(site)

    def end(self, site: SiteId) -> None:
        """End a site's stream."""
        watcher = self._watchers.pop(site, None)
        if watcher is not None:
            watcher.end()

    async def follow(self, site: SiteId) -> AsyncIterator[bytes | None]:
        """The events of a site, the first at once, until another stream of it begins or :meth:`end` is called.

        None: the stream was stirred.
        """
        self.end(site)
        watcher = self._watchers[site] = _Watcher()
        watcher.ring("work" if site in self._missed else "alive")
        self._missed.discard(site)
        try:
            while not watcher.ended:
                kinds = await self._next(watcher)
                if not kinds:
                    yield None
                for kind in kinds:
                    yield Event(kind=kind).canonical()
        finally:
            if self._watchers.get(site) is watcher:
                del self._watchers[site]

    async def _next(self, watcher: _Watcher) -> tuple[EventKind, ...]:
        try:
            await asyncio.wait_for(watcher.rung.wait(), self._alive)
        except TimeoutError:
            return ("alive",)
        watcher.rung.clear()
        waiting, watcher.waiting = tuple(watcher.waiting), {}
        return () if watcher.ended else waiting
