"""The hospital's side of the protocol (README.md beside this file): bytes in, bytes or a refusal out.

1. :meth:`Site.advertise` makes ephemeral keys for a session and signs them.
2. :meth:`Site.join` checks everybody's keys and makes the pair chains.
3. :meth:`Site.begin` opens an attempt: its masks can be summed while the site trains.
   :meth:`Site.keep` seals the encoded update, once a round; :meth:`Site.upload` gives the message.
4. :meth:`Site.confirm` checks the packets and signs the survivor set, once an attempt.
5. :meth:`Site.open` gives the shares that open that set, and nothing else.

Each step validates, then records, then changes state, and only then returns its message: whatever
leaves was durable before. A step that is asked again gives the same bytes again; anything else is
refused and changes nothing. There is no clock, no file and no randomness in here but what the
constructor is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wardround.common.crypto.agreement import AgreementKey
from wardround.common.errors import WardroundError
from wardround.common.secagg import packets, site_records
from wardround.common.secagg.context import RoundContext, SessionContext, survivor_digest, transcript
from wardround.common.secagg.explain import CLOSED, SHARED, explain
from wardround.common.secagg.keys import LINK, PairChains, pair_sign
from wardround.common.secagg.messages import (
    Advert,
    AttemptEnded,
    Confirmation,
    ConfirmRequest,
    Joined,
    Opening,
    OpenRequest,
    Survivors,
    Upload,
    advert_statement,
    decode_adverts,
)
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_checks import ADVERT_PURPOSE, CONFIRM_PURPOSE, SiteChecks, Terms
from wardround.common.secagg.site_records import AttemptRecord, ModelRecord, SessionRecord, UpdateRecord, model_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.crypto.signing import SigningKey
    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.secagg.masks import Sign
    from wardround.common.secagg.ring import RingVector
    from wardround.common.secagg.store import SiteStore


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that this site has begun.

    Attributes:
        context: Its round context.
        seeds: b_v and every pair seed with its sign: the site's mask is the signed sum of their
            keystreams (:func:`wardround.common.secagg.masks.add_masks`).
        computed: Whether the round's update is sealed already, so that it must not be computed again.
    """

    context: RoundContext
    seeds: tuple[tuple[bytes, Sign], ...] = field(repr=False)
    computed: bool


class Site:
    """One hospital in one study run.

    Args:
        site: Its name.
        identity: Its long-lived key.
        roster: The roster that its admin accepted.
        terms: What it holds messages against.
        store: What it must not forget.
        random: The operating system's randomness.
        checks: The rules; only the attack suite gives other ones.

    Raises:
        WardroundError: WR-1714, the store is damaged.
    """

    def __init__(
        self,
        site: SiteId,
        *,
        identity: SigningKey,
        roster: Roster,
        terms: Terms,
        store: SiteStore,
        random: RandomSource,
        checks: SiteChecks | None = None,
    ) -> None:
        self._site = site
        self._identity = identity
        self._roster = roster
        self._terms = terms
        self._store = store
        self._random = random
        self._checks = checks or SiteChecks()
        session = store.get(site_records.SESSION)
        attempt = store.get(site_records.ATTEMPT)
        update = store.get(site_records.UPDATE)
        self._left = store.get(site_records.LEFT) is not None
        self._session = None if session is None else SessionRecord.decode(session)
        self._attempt = None if attempt is None else AttemptRecord.decode(attempt)
        self._update = None if update is None else UpdateRecord.decode(update)
        if self._attempt is not None:
            self._check_beside(self._attempt.context)

    def _check_beside(self, context: RoundContext) -> None:
        """A stored attempt belongs to the session and to the update that are stored beside it."""
        session, update = self._session, self._update
        stored = session and update and (session.transcript, session.round, update.round, update.model)
        if stored != (context.transcript, context.round, context.round, context.model):
            raise WardroundError("WR-1714", "The stored attempt, session and update do not belong together.")

    # Step 1

    def advertise(self, offer: bytes) -> bytes:
        """Make and sign ephemeral keys for the session that is offered.

        Returns:
            :class:`~wardround.common.secagg.messages.Advert`.

        Raises:
            WardroundError: WR-1701, WR-1702, WR-1704, WR-1705, WR-1706 or WR-1712, the offer is refused.
        """
        context = SessionContext.decode(offer)
        self._checks.not_left(left=self._left)
        if self._session is not None and self._session.context == context:
            return self._advertised().advert
        self._check_session(context)
        self._checks.newer_session(context, self._session)
        session = self._new_session(context)
        self._store.commit({site_records.SESSION: session.encode(), site_records.ATTEMPT: None})
        self._session, self._attempt = session, None
        return session.advert

    def _check_session(self, context: SessionContext) -> None:
        """The session is one that study, roster and policy allow: at step 1, and again at every later message."""
        self._checks.study_run(context, self._terms)
        self._checks.cohort(context, self._site, self._roster, self._terms)
        self._checks.roster(context, self._roster)
        self._checks.sizes(context, self._terms)

    def _new_session(self, context: SessionContext) -> SessionRecord:
        mask, share = AgreementKey.generate(self._random), AgreementKey.generate(self._random)
        position = context.position(self._site)
        statement = advert_statement(context.digest, position, mask.public, share.public)
        signature = self._identity.sign(ADVERT_PURPOSE, statement)
        advert = Advert(position, mask.public, share.public, signature)
        return SessionRecord(context, advert.encode(), mask.private + share.private)

    # Step 2

    def join(self, adverts: bytes) -> bytes:
        """Check every site's keys and make the pair chains; the ephemeral private keys are erased.

        Returns:
            :class:`~wardround.common.secagg.messages.Joined`.

        Raises:
            WardroundError: WR-1701, WR-1703 or WR-1706, the list is refused.
        """
        session = self._advertised()
        context = session.context
        found = decode_adverts(adverts, len(context.cohort))
        named = transcript(context, found)
        if session.transcript and session.transcript != named:
            raise WardroundError("WR-1706", "This session was joined with other adverts.")
        if not session.transcript:
            self._join(session, found, named)
        return Joined(self._position, named).encode()

    def _join(self, session: SessionRecord, encoded: tuple[bytes, ...], named: bytes) -> None:
        self._checks.own_advert(encoded, self._position, session.advert)
        adverts = [Advert.decode(advert) for advert in encoded]
        for position, advert in enumerate(adverts):
            self._checks.advert_signature(advert, position, session.context, self._roster)
        self._checks.distinct_keys(adverts)
        chains = {
            position: self._chains(session, advert, position, named)
            for position, advert in enumerate(adverts)
            if position != self._position
        }
        joined = replace(session, private=b"", transcript=named, chains=chains)
        self._store.commit({site_records.SESSION: joined.encode()})
        self._session = joined

    def _chains(self, session: SessionRecord, advert: Advert, position: int, named: bytes) -> PairChains:
        mask, share = AgreementKey(session.private[:LINK]), AgreementKey(session.private[LINK:])
        pair = (self._position, position)
        try:
            return PairChains.first(mask.shared(advert.mask_key), share.shared(advert.share_key), named, pair)
        except ValueError as error:
            site = session.context.cohort[position]
            raise WardroundError("WR-1703", f"The session keys of {site} are not points of full order.") from error

    # Step 3

    def begin(self, request: bytes, model: bytes) -> Attempt:
        """Open an attempt, or the same one again.

        Args:
            request: :class:`~wardround.common.secagg.context.RoundContext`.
            model: SHA-256 of the model that arrived with it, computed here, 32 bytes.

        Raises:
            WardroundError: WR-1701, WR-1705, WR-1706 or WR-1707, the attempt is refused.
        """
        context = RoundContext.decode(request)
        session = self._joined()
        self._checks.this_session(context, session)
        self._checks.approved(context, self._terms)
        self._checks.same_model(context, model)
        if self._attempt is None or self._attempt.context != context:
            self._checks.order(context, session, self._attempt)
            self._checks.no_earlier_round(context, self._update)
            self._checks.one_model_a_round(context, self._update)
            self._checks.model_once(context, session, self._model(context.model))
            self._begin(context, session)
        return self._begun()

    def _begin(self, context: RoundContext, session: SessionRecord) -> None:
        while session.round < context.round:
            number = session.round + 1
            chains = {peer: link.next(session.transcript, number) for peer, link in session.chains.items()}
            session = replace(session, round=number, chains=chains)
        attempt = AttemptRecord(context, self_mask=self._random(LINK), sharing=self._random(LINK))
        update = self._update
        if update is None or update.round != context.round:
            update = UpdateRecord(context.round, context.model)
        self._store.commit(
            {
                site_records.SESSION: session.encode(),
                site_records.ATTEMPT: attempt.encode(),
                site_records.UPDATE: update.encode(),
            }
        )
        self._session, self._attempt, self._update = session, attempt, update

    def _begun(self) -> Attempt:
        session, attempt, update = self._joined(), self._current(), self._present(self._update)
        secrets = packets.secrets(session, attempt, self._position)
        own = self._position
        seeds = tuple((secret, 1 if other == own else pair_sign(own, other)) for other, secret in enumerate(secrets))
        return Attempt(attempt.context, seeds, update.sealed)

    def keep(self, values: RingVector) -> None:
        """Seal the round's encoded update, shape ``[size]``; it is never computed again.

        Raises:
            RuntimeError: No attempt has begun, or the round's update is sealed already.
        """
        update = self._present(self._update)
        if update.sealed:
            raise RuntimeError("the update of this round is sealed already")
        # The key is fresh: after a failure between these two writes another update may have to be sealed.
        sealed = replace(update, key=self._random(LINK), sealed=True)
        self._store.seal(sealed.key, values)
        self._store.commit({site_records.UPDATE: sealed.encode()})
        self._update = sealed

    def kept(self, values: RingVector) -> None:
        """Read the sealed update into ``values``, shape ``[size]``.

        Raises:
            WardroundError: WR-1714, it is missing or damaged.
            RuntimeError: The round's update is not sealed yet.
        """
        update = self._present(self._update)
        if not update.sealed:
            raise RuntimeError("the update of this round is not sealed yet")
        self._store.unseal(update.key, values)

    def upload(self) -> bytes:
        """The message that goes with the masked update, which may leave once this returns.

        The masked update is a function of the sealed one and of the attempt's seeds, and so are the
        packets: asked again, the site sends the identical bytes.

        Returns:
            :class:`~wardround.common.secagg.messages.Upload`.

        Raises:
            RuntimeError: The update is not sealed.
        """
        session, attempt, update = self._joined(), self._current(), self._present(self._update)
        if not update.sealed:
            raise RuntimeError("the update of this round is not sealed yet")
        context = attempt.context
        if not attempt.uploaded:
            uploaded = replace(attempt, uploaded=True)
            changes = {site_records.ATTEMPT: uploaded.encode()}
            if self._model(context.model) is None:
                served = ModelRecord(session.context.session, context.round)
                changes[model_record(context.model)] = served.encode()
            self._store.commit(changes)
            self._attempt = uploaded
        made = packets.sealed_packets(session, attempt, self._position)
        commitments = packets.commitments(session, attempt, self._position)
        return Upload(self._position, context.digest, commitments, made).encode()

    # Step 4

    def confirm(self, request: bytes) -> bytes:
        """Check the packets of the survivor set and sign it.

        Returns:
            :class:`~wardround.common.secagg.messages.Confirmation`.

        Raises:
            WardroundError: WR-1701, WR-1706, WR-1708 or WR-1709, the set is refused.
        """
        session = self._joined()
        asked = ConfirmRequest.decode(request, len(session.context.cohort))
        self._checks.strength(Strength.ACTIVE, session.context)
        attempt = self._prepared(asked.survivors, asked.packets)
        return Confirmation(self._position, asked.survivors.context, attempt.signature).encode()

    def _prepared(self, survivors: Survivors, received: Mapping[int, bytes]) -> AttemptRecord:
        """The attempt with its one survivor set, and the shares that would open it."""
        session = self._joined()
        attempt = self._checks.this_attempt(survivors.context, self._attempt)
        statement = survivors.statement()
        self._checks.one_signature(statement, attempt)
        if attempt.survivors == statement:
            return attempt
        self._checks.enough_survivors(survivors, session.context.sizes, self._terms)
        self._checks.truly_uploaded(survivors, self._position, attempt)
        self._checks.all_packets(survivors, self._position, received)
        prepared = replace(
            attempt,
            survivors=statement,
            signature=self._identity.sign(CONFIRM_PURPOSE, statement),
            opening=packets.opening(session, attempt, self._position, survivors, received),
        )
        self._store.commit({site_records.ATTEMPT: prepared.encode()})
        self._attempt = prepared
        return prepared

    # Step 5

    def open(self, request: bytes) -> bytes:
        """Give the shares that open the survivor set which enough sites confirmed.

        Returns:
            :class:`~wardround.common.secagg.messages.Opening`.

        Raises:
            WardroundError: WR-1701, WR-1703, WR-1706, WR-1707, WR-1708 or WR-1709, nothing is opened.
        """
        session = self._joined()
        asked = OpenRequest.decode(request, len(session.context.cohort))
        attempt = self._checks.this_attempt(asked.survivors.context, self._attempt)
        self._checks.one_form(asked, session.context)
        if session.context.strength is Strength.ACTIVE:
            self._checks.confirmed(asked, attempt)
            self._checks.certificate(asked, session.context, self._roster)
        else:
            attempt = self._prepared(asked.survivors, asked.packets)
        self._open(attempt, asked.survivors)
        return Opening(self._position, asked.survivors.context, attempt.opening).encode()

    def _open(self, attempt: AttemptRecord, survivors: Survivors) -> None:
        session, context = self._joined(), attempt.context
        found = self._model(context.model)
        names = survivor_digest(session.context, survivors.sites)
        self._checks.opened_once(names, found)
        if attempt.opened:
            return
        served = replace(found or ModelRecord(session.context.session, context.round), opened=names)
        opened = replace(attempt, opened=True)
        self._store.commit({site_records.ATTEMPT: opened.encode(), model_record(context.model): served.encode()})
        self._attempt = opened

    # What people are told

    def ended(self, message: bytes) -> str:
        """What to tell this site's people about an attempt that ended without a sum.

        Who was missing is the coordinator's word; whether shares left is read from the own records.

        Raises:
            WardroundError: WR-1701 or WR-1706, the message is not about the newest attempt.
        """
        session = self._joined()
        told = AttemptEnded.decode(message, len(session.context.cohort))
        attempt = self._checks.this_attempt(told.context, self._attempt)
        found = self._model(attempt.context.model)
        own = SHARED if found is not None and found.opened else CLOSED
        return f"The coordinator says: {explain(session.context, attempt.context, told)} {own}"

    def leave(self) -> None:
        """Leave the run for good: at its end, or when this site's records may be older than what it sent.

        Every secret of the run is erased and every later message refused; what became of its models stays recorded.
        """
        self._store.commit(site_records.LEAVING)
        self._left, self._session, self._attempt, self._update = True, None, None, None

    @property
    def _position(self) -> int:
        return self._advertised().context.position(self._site)

    def _advertised(self) -> SessionRecord:
        self._checks.not_left(left=self._left)
        if self._session is None:
            raise WardroundError("WR-1706", "This site has not been offered a session yet.")
        self._check_session(self._session.context)
        return self._session

    def _joined(self) -> SessionRecord:
        session = self._advertised()
        if not session.transcript:
            raise WardroundError("WR-1706", "This site has not joined the session yet.")
        return session

    def _current(self) -> AttemptRecord:
        if self._attempt is None:
            raise RuntimeError("no attempt has begun")
        return self._attempt

    def _present(self, update: UpdateRecord | None) -> UpdateRecord:
        if update is None:
            raise RuntimeError("no attempt has begun")
        return update

    def _model(self, model: bytes) -> ModelRecord | None:
        found = self._store.get(model_record(model))
        return None if found is None else ModelRecord.decode(found)
