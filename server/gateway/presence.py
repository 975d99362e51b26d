"""What the gateway keeps an eye on: changes of the store by other processes, and which sites were heard."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.server.consortium.showing import NOTE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.ids import SiteId
    from wardround.common.wire.federation import EventKind
    from wardround.server.gateway.nodes import SuperLinkLike
    from wardround.server.store import Store


@dataclass(frozen=True, slots=True)
class State:
    """What agents are told about when it changes.

    Attributes:
        version: Of the store.
        roster: Version of the newest roster; 0: none.
        studies: How many were proposed; one that was withdrawn counts twice.
        members: Sites that are members.
        incarnation: Of the SuperLink.
    """

    version: int
    roster: int
    studies: int
    members: frozenset[SiteId]
    incarnation: str

    def news(self, before: State) -> tuple[EventKind, ...]:
        """What agents have to be told after ``before``."""
        changed: dict[EventKind, bool] = {
            "superlink": self.incarnation != before.incarnation,
            "roster": self.roster != before.roster,
            "studies": self.studies != before.studies,
        }
        return tuple(kind for kind, is_so in changed.items() if is_so)


def read_state(store: Store, superlink: SuperLinkLike, before: State | None = None) -> State:
    """The state now; the store is read only where its version is another than ``before``."""
    version = store.version()
    if before is not None and before.version == version:
        return State(version, before.roster, before.studies, before.members, superlink.incarnation)
    roster = store.newest_roster()
    members = frozenset(row.name for row in store.sites() if row.state == "member")
    number = 0 if roster is None else roster.roster.version
    studies = sum(2 if row.withdrawn else 1 for row in store.studies())
    return State(version, number, studies, members, superlink.incarnation)


class Presence:
    """When each site was heard last. Any thread may call.

    Args:
        store: Where it is written down, now and then.
        clock: Seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._heard: dict[SiteId, float] = {}
        self._noted: dict[SiteId, float] = {}

    def heard(self, site: SiteId) -> None:
        """A site called."""
        with self._lock:
            self._heard[site] = self._clock()

    def last(self) -> dict[SiteId, float]:
        """When each site called last, seconds since 1970; only since this process began."""
        with self._lock:
            return dict(self._heard)

    def note(self) -> None:
        """Write down who was heard since it was last written down, at most every :data:`NOTE_SECONDS` for each site."""
        for site, at in self.last().items():
            if at >= self._noted.get(site, 0) + NOTE_SECONDS:
                self._store.heard(site, int(at))
                self._noted[site] = at
