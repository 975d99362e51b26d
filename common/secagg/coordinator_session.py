"""The coordinator's side of steps 1 and 2: one cohort, everybody's session keys.

The coordinator checks what it can, so that an honest consortium finds mistakes early and by name.
Sites do not rely on it: each of them checks everything itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.crypto.signing import verify
from wardround.common.errors import WardroundError
from wardround.common.secagg.context import SessionContext, transcript
from wardround.common.secagg.messages import Advert, Joined, advert_statement, encode_adverts
from wardround.common.secagg.site_checks import ADVERT_PURPOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.ids import SiteId, StudyId, StudyRunId
    from wardround.common.roster import Roster
    from wardround.common.secagg.parameters import Threshold


def offer(
    roster: Roster,
    study: StudyId,
    run: StudyRunId,
    *,
    settings: bytes,
    session: int,
    cohort: Sequence[SiteId],
    sizes: Threshold,
) -> SessionContext:
    """The session that a cohort is offered.

    Args:
        roster: The consortium's roster.
        study: The study's hash.
        run: The study run.
        settings: Digest of the run's own settings (:func:`~wardround.common.secagg.context.settings_digest`).
        session: Its number within the run; larger than every earlier one.
        cohort: The sites, in any order.
        sizes: n, k and the strength.

    Raises:
        ValueError: ``sizes`` is for another number of sites, or a site stands twice in the cohort.
        WardroundError: WR-1702, a site is not in the roster.
    """
    if len(cohort) != sizes.sites or len(set(cohort)) != len(cohort):
        raise ValueError("the cohort and its sizes differ, or a site stands in it twice")
    for site in cohort:
        roster.public_key(site)
    return SessionContext(
        consortium=roster.consortium,
        members=roster.entries_hash(cohort),
        study=study,
        run=run,
        settings=settings,
        session=session,
        cohort=tuple(sorted(cohort)),
        colluding=sizes.colluding,
        strength=sizes.strength,
        threshold=sizes.threshold,
    )


class CoordinatorSession:
    """Gathers the adverts of a cohort.

    Args:
        context: The session on offer.
        roster: The consortium's roster.
    """

    def __init__(self, context: SessionContext, roster: Roster) -> None:
        self.context = context
        self._roster = roster
        self._adverts: dict[int, bytes] = {}
        self._joined: set[int] = set()

    def offer(self) -> bytes:
        """Step 1, down: the same for every site."""
        return self.context.encode()

    def receive_advert(self, site: SiteId, message: bytes) -> None:
        """Step 1, up.

        Raises:
            WardroundError: WR-1701, malformed or a second, different one; WR-1703, not signed by the site;
                WR-1704, the site is not in the cohort.
        """
        position = self.context.position(site)
        advert = Advert.decode(message)
        statement = advert_statement(self.context.digest, position, advert.mask_key, advert.share_key)
        genuine = verify(self._roster.public_key(site), ADVERT_PURPOSE, statement, advert.signature)
        if advert.position != position or not genuine:
            raise WardroundError("WR-1703", f"The session keys of {site} are not signed by its identity key.")
        if self._adverts.setdefault(position, message) != message:
            raise WardroundError("WR-1701", f"{site} sent a second, different advert.")

    @property
    def silent(self) -> tuple[SiteId, ...]:
        """Sites whose advert is missing."""
        return tuple(site for position, site in enumerate(self.context.cohort) if position not in self._adverts)

    def adverts(self) -> bytes:
        """Step 2, down: the same for every site.

        Raises:
            RuntimeError: An advert is missing.
        """
        return encode_adverts(self._in_order())

    def receive_joined(self, site: SiteId, message: bytes) -> None:
        """Step 2, up.

        Raises:
            WardroundError: WR-1701, malformed; WR-1703, the site joined under another transcript; WR-1704, it
                is not in the cohort; WR-1706, adverts are missing.
        """
        position = self.context.position(site)
        joined = Joined.decode(message)
        if self.silent:
            raise WardroundError("WR-1706", f"{site} joined before the adverts of all sites were in.")
        if joined.position != position or joined.transcript != self.transcript:
            raise WardroundError("WR-1703", f"{site} joined another session than the one on offer.")
        self._joined.add(position)

    @property
    def outside(self) -> tuple[SiteId, ...]:
        """Sites that have not joined."""
        return tuple(site for position, site in enumerate(self.context.cohort) if position not in self._joined)

    @property
    def transcript(self) -> bytes:
        """T.

        Raises:
            RuntimeError: An advert is missing.
        """
        return transcript(self.context, self._in_order())

    def _in_order(self) -> tuple[bytes, ...]:
        if self.silent:
            raise RuntimeError("adverts are missing")
        return tuple(self._adverts[position] for position in range(len(self.context.cohort)))
