"""Which runs no longer have the keys that they began with.

A private run rests on the keys that its hospitals had when they joined its session: the hash of them is in every
message, and each hospital holds it against the roster that its people accepted. A hospital that is revoked, or that
joins again, has other keys, so such a run is over, also when everybody has accepted the new roster. An open run rests
on no keys: it goes on without a hospital that is revoked, and with it when it is back.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.server.private.records import RunRecords
from wardround.server.private.store import FolderStore
from wardround.server.store.rows import OPEN_RUNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.study import Study
    from wardround.server.consortium import Consortium
    from wardround.server.store import RunRow

_PRIVATE: Final = "private"
"""Folder of a run in which a private one keeps its session."""


def lost_keys(consortium: Consortium, run: RunRow, study: Study) -> tuple[SiteId, ...]:
    """The hospitals of a private run that are no members any more, or have other keys than when its session began.

    Empty for an open run, and for a private one whose session has not begun: that is made with the keys of its day.

    Raises:
        WardroundError: WR-1714, what the run keeps is damaged.
    """
    folder, newest = consortium.path / "runs" / run.id / _PRIVATE, consortium.store.newest_roster()
    if not study.private or newest is None or not (folder / "records").exists():
        return ()
    joined = RunRecords(FolderStore(folder), study).session()
    if joined is None or _entries(newest.roster, joined.context.cohort) == joined.context.members:
        return ()
    cohort, now = joined.context.cohort, newest.roster.members
    for signed in consortium.store.rosters():
        if _entries(signed.roster, cohort) == joined.context.members:
            then = signed.roster.members
            return tuple(site for site in cohort if site not in now or now[site].key != then[site].key)
    return tuple(site for site in cohort if site not in now) or cohort


def check_same_keys(consortium: Consortium, run: RunRow, study: Study) -> None:
    """Refuse to go on with a private run that some hospital has no keys for any more.

    Raises:
        WardroundError: WR-1923, which names those hospitals; WR-1714, what the run keeps is damaged.
    """
    lost = lost_keys(consortium, run, study)
    if lost:
        members = {row.name for row in consortium.store.sites() if row.state == "member"}
        told = "; ".join(f"{site}: {'other keys now' if site in members else 'revoked'}" for site in lost)
        what = f"Run {run.id} cannot go on: in private mode it needs the keys that it began with. {told}."
        raise WardroundError("WR-1923", what, fix=f"Start the study anew. {_anew(study)}")


def words_of_lost(consortium: Consortium, run: RunRow, read: Callable[[], Study]) -> str:
    """What to add to a run under way that cannot go on for its keys; empty: it can, or that cannot be told."""
    if run.state not in OPEN_RUNS:
        return ""
    lost: tuple[SiteId, ...] = ()
    with suppress(WardroundError):
        lost = lost_keys(consortium, run, read())
    if not lost:
        return ""
    has = f"{', '.join(lost)} {'was' if len(lost) == 1 else 'were'} revoked or joined again"
    return f"it cannot go on in private mode: {has}. Stop it: wardround coordinator stop {run.id} --by NAME"


def words_of_revoked(consortium: Consortium, run: RunRow, study: Study, site: SiteId) -> str:
    """What a run under way does now that one of its sites is revoked, and what there is to do."""
    stop = f"wardround coordinator stop {run.id} --by NAME"
    try:
        over = bool(lost_keys(consortium, run, study))
    except WardroundError:
        over = True
    if over:
        return (
            f"Run {run.id} needs {site} and cannot go on, also not when it is back: a private run needs the keys that "
            f"it began with. Stop it: {stop}\n  Then start its study anew, without {site} or when it is back. "
            f"{_anew(study, site)}"
        )
    if study.private:
        return f"Run {run.id} waits until {site} is back. If it shall not: {stop}"
    return (
        f"Run {run.id} goes on without {site} while {study.aggregation.min_sites} of its other sites are heard, and "
        f"waits otherwise. If it shall not: {stop}"
    )


def _anew(study: Study, site: str = "") -> str:
    without = f" [--without {site}]" if site else ""
    return (
        f"When its hospitals have approved it and accepted the newest roster: wardround coordinator start {study.name} "
        f"--by NAME{without}. A hospital that has sent an update already takes part only if its policy allows "
        f"another run (runs_per_study); else, or with too few sites left, propose another study."
    )


def _entries(roster: Roster, sites: tuple[SiteId, ...]) -> str | None:
    try:
        return roster.entries_hash(sites)
    except WardroundError:
        return None
