"""Steps 1 and 2: who takes part. Sites that stay silent are left out, and the others are offered a new session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.secagg.context import settings_digest
from wardround.common.secagg.coordinator_session import CoordinatorSession, offer
from wardround.common.secagg.parameters import SMALLEST_COHORT, Threshold
from wardround.common.wire.private import ADVERTISE, JOIN
from wardround.server.private.records import JoinedSession

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.study import Study
    from wardround.common.wire.base import RunContext
    from wardround.server.private.exchange import Exchange
    from wardround.server.private.records import RunRecords


def smallest_cohort(study: Study) -> int:
    """Fewest sites that can run a private study."""
    return max(SMALLEST_COHORT, study.colluding + 2, study.aggregation.min_sites)


def open_session(
    exchange: Exchange, study: Study, plan: RunContext, roster: Roster, records: RunRecords
) -> tuple[JoinedSession, dict[SiteId, str]]:
    """Gather a cohort whose every member has joined one session.

    Returns:
        The session, and the sites of the study outside it with the reason.

    Raises:
        WardroundError: WR-1711, too few sites take part; WR-1702, a site is not in the roster.
    """
    outside: dict[SiteId, str] = {}
    while True:
        cohort = tuple(sorted(site for site in study.site_ids if site not in outside))
        _require(study, cohort, outside)
        sizes = Threshold(len(cohort), study.colluding, study.secure.strength)
        number = records.next_session()
        context = offer(
            roster, study.id, plan.run, settings=settings_of(plan), session=number, cohort=cohort, sizes=sizes
        )
        missing = _gather(exchange, CoordinatorSession(context, roster), records)
        if not missing:
            joined = records.session()
            if joined is None:
                raise RuntimeError("the session that was joined is not recorded")
            return joined, outside
        outside |= missing


def settings_of(plan: RunContext) -> bytes:
    """Digest of the run's own settings, which every site of a session has been told alike."""
    return settings_digest(plan.seed, plan.fold, plan.folds)


def _gather(exchange: Exchange, session: CoordinatorSession, records: RunRecords) -> dict[SiteId, str]:
    """Both steps; the sites that did not take them. The session is recorded when all have."""
    cohort, group = session.context.cohort, f"0.{session.context.session}"
    missing = exchange.ask(
        ADVERTISE,
        dict.fromkeys(cohort, session.offer()),
        lambda site, content, _: session.receive_advert(site, content),
        group=group,
    )
    if missing:
        return missing
    missing = exchange.ask(
        JOIN,
        dict.fromkeys(cohort, session.adverts()),
        lambda site, content, _: session.receive_joined(site, content),
        group=group,
    )
    if not missing:
        records.keep_session(JoinedSession(session.context, session.transcript))
    return missing


def _require(study: Study, cohort: tuple[SiteId, ...], outside: dict[SiteId, str]) -> None:
    needed = smallest_cohort(study)
    if len(cohort) < needed:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(outside.items()))
        raise WardroundError(
            "WR-1711",
            f"{len(cohort)} of {len(study.sites)} sites can take part in the secure sum, at least {needed} are needed. "
            f"Missing: {reasons}. No secure sum was begun.",
        )
