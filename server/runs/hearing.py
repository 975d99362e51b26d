"""Which sites are heard: by the calls of their agents, in the time of this process and not by anybody's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from wardround.server.runs.talk import Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from wardround.common.ids import SiteId

NO_MEMBER: Final = "not a member of the consortium any more"
NEVER: Final = "not heard since the coordinator began to listen"


class Hearing:
    """Notes who called.

    An agent calls every few seconds, whatever it works on: a site that trains for hours is heard all the time.

    Args:
        silent_after: Seconds without a call after which a site is silent.
        grace: Seconds from the beginning in which sites that have not called are expected.
        monotonic: A clock that nobody sets.
    """

    def __init__(self, silent_after: float, grace: float, monotonic: Callable[[], float]) -> None:
        self._silent_after, self._grace, self._monotonic = silent_after, grace, monotonic
        self._begin = monotonic()
        self._last: dict[SiteId, tuple[float, float]] = {}

    def note(self, last: Mapping[SiteId, float]) -> None:
        """Take what the gateway knows: when each site called last, by the wall clock."""
        now = self._monotonic()
        for site, stamp in last.items():
            if site not in self._last or self._last[site][0] != stamp:
                self._last[site] = stamp, now

    def presence(self, sites: Iterable[SiteId], members: Collection[SiteId]) -> dict[SiteId, Presence]:
        """How it stands with each of these sites."""
        return {
            site: self._of(site) if site in members else Presence(state="silent", words=NO_MEMBER) for site in sites
        }

    def _of(self, site: SiteId) -> Presence:
        now, known = self._monotonic(), self._last.get(site)
        if known is None:
            expected = now - self._begin < self._grace
            return Presence(state="expected") if expected else Presence(state="silent", words=NEVER)
        stamp, heard = known
        if now - heard < self._silent_after:
            return Presence(state="heard")
        return Presence(
            state="silent", words=f"not heard since {datetime.fromtimestamp(stamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
        )
