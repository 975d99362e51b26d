"""What a site refuses, one method a rule.

:class:`~wardround.common.secagg.site.Site` calls them in the order in which its steps read. They stand
in a class of their own so that the attack suite can switch single rules off and show that the attack
they stop then succeeds; the hospital's code never passes anything but this class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.crypto.signing import verify
from wardround.common.errors import WardroundError
from wardround.common.secagg.messages import Advert, advert_statement
from wardround.common.secagg.parameters import Strength

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.common.ids import SiteId, StudyId, StudyRunId
    from wardround.common.roster import Roster
    from wardround.common.secagg.context import RoundContext, SessionContext
    from wardround.common.secagg.messages import OpenRequest, Survivors
    from wardround.common.secagg.parameters import Threshold
    from wardround.common.secagg.site_records import AttemptRecord, ModelRecord, SessionRecord, UpdateRecord

ADVERT_PURPOSE = "secagg-advert"
CONFIRM_PURPOSE = "secagg-confirmation"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a site holds every message against: its approved study and its own policy.

    Attributes:
        study: The approved study's hash.
        run: The study run.
        sites: Training sites of the study.
        rounds: Number of the last round that may be masked.
        colluding: The least k: the larger of the study's and the site policy's.
        strength: The study's, which site policy allows.
        settings: Digest of the run's own settings, as the message at hand says them.
        smallest_sum: The least number of sites that the study lets into a sum.
        smallest_cohort: The least n that site policy allows.
        layout: SHA-256 of the model's layout.
        encoding: Digest of the encoding that the site derived from the study.
        ring_bits: The study's ring.
        weight_cap: The study's largest weight.
    """

    study: StudyId
    run: StudyRunId
    sites: frozenset[SiteId]
    rounds: int
    colluding: int
    strength: Strength
    smallest_cohort: int
    layout: bytes
    encoding: bytes
    ring_bits: int
    weight_cap: int
    settings: bytes
    smallest_sum: int


class SiteChecks:
    """Every refusal of a site. Methods return nothing and raise :class:`WardroundError`."""

    def not_left(self, *, left: bool) -> None:
        """A run that was left is not taken up again (WR-1706)."""
        if left:
            raise WardroundError("WR-1706", "This site has left the study run for good.")

    def study_run(self, context: SessionContext, terms: Terms) -> None:
        """The session is of the approved study, of this run and of its settings (WR-1705)."""
        if (context.study, context.run) != (terms.study, terms.run):
            raise WardroundError("WR-1705", "The session is of another study, or of another run of it.")
        if context.settings != terms.settings:
            raise WardroundError("WR-1705", "The session was made for another seed or fold than the message names.")

    def cohort(self, context: SessionContext, own: SiteId, roster: Roster, terms: Terms) -> None:
        """Sorted, nobody twice, this site in it, every member in the roster (WR-1702) and study (WR-1704)."""
        if list(context.cohort) != sorted(set(context.cohort)):
            raise WardroundError("WR-1704", "The cohort is not sorted, or names a site twice.")
        context.position(own)
        for site in context.cohort:
            roster.public_key(site)
        strangers = set(context.cohort) - terms.sites
        if strangers:
            raise WardroundError("WR-1704", f"Not training sites of the study: {', '.join(sorted(strangers))}.")

    def roster(self, context: SessionContext, roster: Roster) -> None:
        """The session rests on the keys that the roster which this site's admin accepted has for its members (WR-1702).

        Only the cohort's entries count, so that a run goes on when another hospital joins. They are all that a session
        uses of a roster: a site outside the cohort has no key in it, gets no share, has no mask, and is in no sum, and
        n, k and t are the cohort's. Sites that have accepted different rosters agree on each of these entries, or part
        before the first key is made, and again at every later message: the hash is in H(C), which every advert signs.
        A coordinator that swaps a member's key has to get a roster with it accepted by people, and then the session
        ends; a member that it invents has to be in that roster and in the approved study as well.
        """
        if (context.consortium, context.members) != (roster.consortium, roster.entries_hash(context.cohort)):
            what = "The session rests on other keys of its members than the roster that is accepted here."
            raise WardroundError("WR-1702", what)

    def sizes(self, context: SessionContext, terms: Terms) -> None:
        """n, k and the strength are acceptable, and t is the one that follows from them (WR-1704, WR-1712)."""
        if context.strength is not terms.strength:
            raise WardroundError("WR-1704", f"The session is {context.strength}; the study says {terms.strength}.")
        sizes = context.sizes
        if sizes.sites < terms.smallest_cohort:
            raise WardroundError(
                "WR-1712", f"The cohort has {sizes.sites} sites; this site's policy asks for {terms.smallest_cohort}."
            )
        if sizes.colluding < terms.colluding:
            raise WardroundError(
                "WR-1704",
                f"The session allows for {sizes.colluding} colluding sites; {terms.colluding} are needed here.",
            )
        if context.threshold != sizes.threshold:
            raise WardroundError(
                "WR-1704", f"The session's threshold is {context.threshold}; this site computes {sizes.threshold}."
            )

    def newer_session(self, context: SessionContext, previous: SessionRecord | None) -> None:
        """Sessions only go up (WR-1706), and all of a run have its first one's settings (WR-1705)."""
        if previous is not None and context.settings != previous.context.settings:
            raise WardroundError("WR-1705", "An earlier session of this run was made for another seed or fold.")
        if previous is not None and context.session <= previous.context.session:
            raise WardroundError(
                "WR-1706",
                f"Session {context.session} is not newer than session {previous.context.session}, and differs from it.",
            )

    def own_advert(self, adverts: Sequence[bytes], position: int, own: bytes) -> None:
        """The list holds this site's advert as it was sent (WR-1703)."""
        if adverts[position] != own:
            raise WardroundError("WR-1703", "The list of adverts does not hold this site's own keys.")

    def advert_signature(self, advert: Advert, position: int, context: SessionContext, roster: Roster) -> None:
        """An advert is signed by the identity key that the accepted roster has for its site (WR-1703)."""
        site = context.cohort[position]
        statement = advert_statement(context.digest, position, advert.mask_key, advert.share_key)
        genuine = verify(roster.public_key(site), ADVERT_PURPOSE, statement, advert.signature)
        if advert.position != position or not genuine:
            raise WardroundError("WR-1703", f"The session keys of {site} are not signed by its identity key.")

    def distinct_keys(self, adverts: Sequence[Advert]) -> None:
        """No session key stands twice in the list (WR-1703)."""
        keys = [key for advert in adverts for key in (advert.mask_key, advert.share_key)]
        if len(set(keys)) != len(keys):
            raise WardroundError("WR-1703", "Two sites of the cohort have the same session key.")

    def this_session(self, context: RoundContext, session: SessionRecord) -> None:
        """The round belongs to the session that was joined (WR-1706)."""
        if context.transcript != session.transcript:
            raise WardroundError("WR-1706", "The round belongs to another session than the one joined here.")

    def approved(self, context: RoundContext, terms: Terms) -> None:
        """Layout, bounds, ring and weights are those of the approved study (WR-1705)."""
        compared = {
            "model layout": (context.layout, terms.layout),
            "ring": (context.ring_bits, terms.ring_bits),
            "weight cap": (context.weight_cap, terms.weight_cap),
            "clipping bounds and scales": (context.encoding, terms.encoding),
        }
        wrong = [name for name, (asked, own) in compared.items() if asked != own]
        if wrong:
            raise WardroundError("WR-1705", f"Not as in the approved study: {', '.join(wrong)}.")
        if not 1 <= context.round <= terms.rounds or context.attempt < 1:
            raise WardroundError("WR-1705", f"Round {context.round} is not one of the study's {terms.rounds}.")

    def same_model(self, context: RoundContext, model: bytes) -> None:
        """The model that arrived is the one that the round names (WR-1705)."""
        if context.model != model:
            raise WardroundError("WR-1705", "The model that arrived is not the one that the round names.")

    def order(self, context: RoundContext, session: SessionRecord, attempt: AttemptRecord | None) -> None:
        """Rounds and attempts only go up (WR-1706)."""
        if context.round < session.round:
            raise WardroundError("WR-1706", f"Round {context.round} is over; this site is at round {session.round}.")
        newest = attempt.context if attempt is not None else None
        if newest is not None and context.round == newest.round and context.attempt <= newest.attempt:
            raise WardroundError(
                "WR-1706",
                f"Attempt {context.attempt} of round {context.round} is not newer than attempt {newest.attempt}, "
                "and differs from it.",
            )

    def no_earlier_round(self, context: RoundContext, update: UpdateRecord | None) -> None:
        """A newer session does not go back to a round whose update another one has replaced (WR-1706)."""
        if update is not None and context.round < update.round:
            raise WardroundError("WR-1706", f"Round {context.round} is over; this site is at round {update.round}.")

    def one_model_a_round(self, context: RoundContext, update: UpdateRecord | None) -> None:
        """Every attempt of a round starts from the same model (WR-1705)."""
        if update is not None and update.round == context.round and update.model != context.model:
            raise WardroundError("WR-1705", f"Round {context.round} began on another model.")

    def model_once(self, context: RoundContext, session: SessionRecord, found: ModelRecord | None) -> None:
        """A model is masked in one round of one session only (WR-1707)."""
        if found is not None and (found.session, found.round) != (session.context.session, context.round):
            raise WardroundError(
                "WR-1707",
                f"An update on this model was already uploaded in session {found.session}, round {found.round}.",
            )

    def this_attempt(self, context: bytes, attempt: AttemptRecord | None) -> AttemptRecord:
        """The message belongs to the newest attempt (WR-1706)."""
        if attempt is None or attempt.context.digest != context:
            raise WardroundError("WR-1706", "The message does not belong to the newest attempt of this site.")
        return attempt

    def enough_survivors(self, survivors: Survivors, sizes: Threshold, terms: Terms) -> None:
        """U is no smaller than the least sum that may be opened (WR-1708)."""
        needed = max(sizes.minimum_sum, terms.smallest_sum)
        if len(survivors.sites) < needed:
            raise WardroundError(
                "WR-1708", f"The survivor set has {len(survivors.sites)} sites; at least {needed} are opened together."
            )

    def truly_uploaded(self, survivors: Survivors, position: int, attempt: AttemptRecord) -> None:
        """This site is in U only if it uploaded (WR-1708)."""
        if position in survivors.sites and not attempt.uploaded:
            raise WardroundError("WR-1708", "The survivor set names this site, which has not uploaded.")

    def all_packets(self, survivors: Survivors, position: int, packets: Mapping[int, bytes]) -> None:
        """There is a packet from every other site of U and from nobody else (WR-1709)."""
        if set(packets) != set(survivors.sites) - {position}:
            raise WardroundError("WR-1709", "The packets are not those of the survivor set.")

    def one_signature(self, statement: bytes, attempt: AttemptRecord) -> None:
        """At most one survivor set is confirmed in an attempt (WR-1708)."""
        if attempt.survivors and attempt.survivors != statement:
            raise WardroundError(
                "WR-1708", "This site has confirmed another survivor set, or log head, in this attempt."
            )

    def strength(self, wanted: Strength, context: SessionContext) -> None:
        """The step belongs to the session's strength (WR-1706)."""
        if context.strength is not wanted:
            raise WardroundError("WR-1706", f"There is no such step in a session that is {context.strength}.")

    def one_form(self, request: OpenRequest, context: SessionContext) -> None:
        """An open request holds signatures if the session is active, packets if not, never both (WR-1701)."""
        idle = request.packets if context.strength is Strength.ACTIVE else request.signatures
        if idle:
            raise WardroundError("WR-1701", f"An open request holds what no session that is {context.strength} has.")

    def confirmed(self, request: OpenRequest, attempt: AttemptRecord) -> None:
        """What is to be opened is what this site confirmed (WR-1706, WR-1708)."""
        if not attempt.survivors:
            raise WardroundError("WR-1706", "This site has not confirmed a survivor set in this attempt.")
        if attempt.survivors != request.survivors.statement():
            raise WardroundError("WR-1708", "The survivor set, or log head, is not the one that this site confirmed.")

    def certificate(self, request: OpenRequest, context: SessionContext, roster: Roster) -> None:
        """At least t sites of the cohort signed this survivor set and log head (WR-1703, WR-1708)."""
        statement = request.survivors.statement()
        for position, signature in request.signatures.items():
            site = context.cohort[position]
            if not verify(roster.public_key(site), CONFIRM_PURPOSE, statement, signature):
                raise WardroundError("WR-1703", f"The confirmation of {site} is not signed by its identity key.")
        needed = context.sizes.threshold
        if len(request.signatures) < needed:
            raise WardroundError(
                "WR-1708", f"{len(request.signatures)} sites confirmed the survivor set; {needed} are needed."
            )

    def opened_once(self, survivors: bytes, found: ModelRecord | None) -> None:
        """A model opens at most one survivor set (WR-1707)."""
        if found is not None and found.opened and found.opened != survivors:
            raise WardroundError("WR-1707", "On this model a sum over other sites was already opened.")
