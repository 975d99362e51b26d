"""Which roster a run rests on: what the hospitals that take part have accepted, as their agents said.

Only what a roster says of the run's own hospitals counts (:meth:`~wardround.common.roster.Roster.entries_hash`):
another hospital that joined since is nobody's concern here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wardround.common.ids import SiteId
    from wardround.common.roster import SignedRoster
    from wardround.common.study import Study
    from wardround.server.store import Store


def check_accepted(store: Store, study: Study, without: Sequence[SiteId]) -> None:
    """Refuse a run while people at a hospital of it have not accepted the roster that it needs.

    A private run needs the newest keys of all its hospitals at each of them; an open one needs that a hospital's people
    have accepted a roster at all. Sites that are no members now are not looked at.

    Raises:
        WardroundError: WR-1936, which names those hospitals.
    """
    sites, newest = _members(store, study, without), store.newest_roster()
    versions = _versions(store, sites)
    rosters = {signed.roster.version: signed for signed in store.rosters()}
    if newest is None or not study.private:
        missing = [site for site in sites if not versions[site]]
    else:
        needed = newest.roster.entries_hash(sites)
        missing = [site for site in sites if _entries(rosters.get(versions[site]), sites) != needed]
    if missing:
        told = ", ".join(f"{site} ({_words(versions[site])})" for site in missing)
        number = f"version {newest.roster.version}" if newest is not None else "a version"
        what = f"The run needs {number} of the roster, which people there have not accepted yet: {told}."
        raise WardroundError("WR-1936", what)


def agreed_roster(store: Store, study: Study, without: Sequence[SiteId]) -> SignedRoster | None:
    """The newest roster that all hospitals of a run have accepted; None: they have accepted different keys."""
    sites = _members(store, study, without)
    versions = _versions(store, sites)
    rosters = {signed.roster.version: signed for signed in store.rosters()}
    found = {_entries(rosters.get(versions[site]), sites) for site in sites}
    if len(found) != 1 or None in found:
        return None
    return rosters[min(versions.values())]


def _members(store: Store, study: Study, without: Sequence[SiteId]) -> tuple[SiteId, ...]:
    members = {row.name for row in store.sites() if row.state == "member"}
    return tuple(site for site in study.site_ids if site in members and site not in without)


def _versions(store: Store, sites: Iterable[SiteId]) -> Mapping[SiteId, int]:
    """Version of the roster that people at each site have accepted; 0: none."""
    told = {row.name: row.roster or 0 for row in store.sites()}
    return {site: told[site] for site in sites}


def _entries(signed: SignedRoster | None, sites: Iterable[SiteId]) -> str | None:
    """What a roster says of these sites; None: it is not known here, or lacks one of them."""
    if signed is None:
        return None
    try:
        return signed.roster.entries_hash(sites)
    except WardroundError:
        return None


def _words(version: int) -> str:
    return f"accepted version {version}" if version else "accepted none"
