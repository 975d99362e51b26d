"""The hospital in a private study: every message of the secure sum, from the wire to the protocol and back.

The protocol is :class:`wardround.common.secagg.site.Site`; here it gets the hospital's keys, roster,
policy, records and training. Nothing is kept in memory between messages: a hospital that restarts at any
point goes on from its home folder.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.identity import accepted_roster, site_key
from wardround.client.secagg import journal
from wardround.client.secagg.contribution import Contribution
from wardround.client.secagg.masking import MaskSum
from wardround.client.secagg.runs import erase_run, joining, make_room, run_files
from wardround.client.secagg.terms import check_folds, check_policy, check_private, check_session, terms
from wardround.client.spending import Spending, settle_run
from wardround.client.train.preflight import check_gradients
from wardround.common.errors import WardroundError
from wardround.common.rounds.encodings import encoding_of
from wardround.common.secagg.context import RoundContext, SessionContext, digest_bytes
from wardround.common.secagg.messages import OpenRequest
from wardround.common.secagg.site import Site
from wardround.common.secagg.site_records import ATTEMPT, SESSION, AttemptRecord, SessionRecord
from wardround.common.vector import vector_hash
from wardround.common.wire.private import ProtocolReply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.client.hospital import Hospital
    from wardround.client.secagg.store import SiteFiles
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.encoding import Encoding
    from wardround.common.secagg.ring import RingVector
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.private import ProtocolMessage


class PrivateRounds:
    """What a hospital answers in private studies.

    Args:
        hospital: The hospital.
        random: The operating system's randomness; tests may give another source.
    """

    def __init__(self, hospital: Hospital, random: RandomSource = os.urandom) -> None:
        self._hospital = hospital
        self._home = hospital.home
        self._random = random

    def advertise(self, question: ProtocolMessage) -> ProtocolReply:
        """Step 1: make keys for the session on offer. The site counts as having joined the run."""
        study = self._study(question)
        check_session(SessionContext.decode(question.content), self._home.policy)
        self._hospital.check_weights(study)
        if study.privacy is not None:
            check_gradients(study, self._hospital.device)
        for given_up in make_room(self._home, question.study, question.run, self._random):
            settle_run(self._home, given_up)
            journal.note(self._home, given_up, "given up", words=f"Nothing had left; run {question.run} begins.")
        Spending(self._hospital, study, question).reserve()
        with joining(self._home, question.study, question.run, self._random) as files:
            content = self._site(files, question, study).advertise(question.content)
        return self._reply(content)

    def join(self, question: ProtocolMessage) -> ProtocolReply:
        """Step 2: check everybody's keys."""
        with self._open(question) as (_, _, site):
            return self._reply(site.join(question.content))

    def upload(self, question: ProtocolMessage, vector: Vector) -> tuple[ProtocolReply, RingVector]:
        """Step 3: train, unless this round's update is sealed already, and mask.

        Args:
            question: With the round context.
            vector: The model that came with it, shape ``[P]``.

        Returns:
            The reply and the masked update, shape ``[size]``.
        """
        context = RoundContext.decode(question.content)
        with self._open(question, context.round) as (study, files, site):
            attempt = site.begin(question.content, digest_bytes(vector_hash(vector)))
            encoding = encoding_of(study, self._hospital.model(study).layout, context.round)
            threads = self._home.settings.threads
            figures: dict[str, float] = {}
            with MaskSum(encoding.ring, encoding.size, attempt.seeds, threads=threads) as masks:
                if attempt.computed:
                    values = self._kept(site, encoding)
                else:
                    work = Contribution(self._hospital, study, question, context.round, files, self._random)
                    values, figures = self._computed(site, work, vector)
                masked = masks.add(values)
            content = site.upload()
        event = "masked again" if attempt.computed else "uploaded"
        place = {"round": context.round, "attempt": context.attempt, "bytes": len(content) + masked.nbytes}
        journal.note(self._home, question.run, event, **place, **figures)
        return self._reply(content), masked

    @staticmethod
    def _kept(site: Site, encoding: Encoding) -> RingVector:
        values: RingVector = np.empty(encoding.size, dtype=encoding.ring.dtype)
        site.kept(values)
        return values

    @staticmethod
    def _computed(site: Site, work: Contribution, vector: Vector) -> tuple[RingVector, dict[str, float]]:
        """The encoded update, sealed, and the figures that stay at the site."""
        encoded = work.encoded(vector)
        site.keep(encoded.values)
        return encoded.values, {"clipped": encoded.clipped, "rounding_share": encoded.rounding_share}

    def confirm(self, question: ProtocolMessage) -> ProtocolReply:
        """Step 4: sign the survivor set."""
        with self._open(question) as (_, _, site):
            return self._reply(site.confirm(question.content))

    def open(self, question: ProtocolMessage) -> ProtocolReply:
        """Step 5: give the shares that open it."""
        with self._open(question) as (_, files, site):
            content = site.open(question.content)
            self._note_opening(question, files)
        return self._reply(content)

    def ended(self, question: ProtocolMessage) -> ProtocolReply:
        """Note in words why an attempt ended without a sum."""
        with self._open(question) as (_, _, site):
            words = site.ended(question.content)
        journal.note(self._home, question.run, "ended without a sum", words=words)
        return self._reply(b"")

    def finished(self, question: ProtocolMessage) -> ProtocolReply:
        """The run is over: leave it for good and erase its secrets."""
        with self._open(question) as (study, files, site):
            site.leave()
            erase_run(files)
        Spending(self._hospital, study, question).settle()
        journal.note(self._home, question.run, "left", words="The run is over; its keys and updates are erased.")
        return self._reply(b"")

    # What a message is held against

    def _study(self, question: ProtocolMessage) -> Study:
        study = self._hospital.study(question)
        check_private(study)
        check_policy(study, self._home.policy)
        check_folds(study, question, self._home.policy)
        self._hospital.check_takes_part(study)
        return study

    @contextmanager
    def _open(self, question: ProtocolMessage, number: int = 1) -> Iterator[tuple[Study, SiteFiles, Site]]:
        study = self._study(question)
        with run_files(self._home, question.study, question.run, self._random) as files:
            try:
                yield study, files, self._site(files, question, study, number)
            except WardroundError as error:
                journal.note(self._home, question.run, "refused", code=error.code, words=error.what)
                raise

    def _site(self, files: SiteFiles, question: ProtocolMessage, study: Study, number: int = 1) -> Site:
        return Site(
            self._home.site,
            identity=site_key(self._home),
            roster=accepted_roster(self._home),
            terms=terms(study, question, self._home.policy, self._hospital.model(study).layout, number),
            store=files,
            random=self._random,
        )

    def _reply(self, content: bytes) -> ProtocolReply:
        return ProtocolReply(site=self._home.site, content=content)

    def _note_opening(self, question: ProtocolMessage, files: SiteFiles) -> None:
        session = SessionRecord.decode(files.get(SESSION) or b"").context
        context = AttemptRecord.decode(files.get(ATTEMPT) or b"").context
        survivors = OpenRequest.decode(question.content, len(session.cohort)).survivors.sites
        names = [str(session.cohort[position]) for position in survivors]
        journal.note(self._home, question.run, "opened", round=context.round, attempt=context.attempt, sum_over=names)
