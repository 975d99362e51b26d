"""The rounds of a private run without I/O: numbers of attempts, steps of the model, the log.

The head of the log is a hash chain over committed rounds: each link covers the one before, the round
context, the survivors and the model that came out. Sites sign it with every survivor set, so that all
who signed saw one history.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.ids import RoundNumber
from wardround.common.rounds.encodings import (
    TRAINING_LOSS,
    VALIDATION_LOSS,
    encoding_of,
)
from wardround.common.secagg.context import RoundContext, digest_bytes, survivor_digest
from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
from wardround.common.vector import vector_hash
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.state import MeanValidation, RoundRecord, Validation, paid_validation

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.secagg.coordinator_attempt import Unmask
    from wardround.common.secagg.coordinator_record import CoordinatorRecord
    from wardround.common.secagg.encoding import DecodedSum, Encoding
    from wardround.common.study import Study
    from wardround.common.vector import Layout, Vector
    from wardround.server.private.attempt import Opened
    from wardround.server.private.records import JoinedSession, RunRecords


@dataclass(frozen=True, slots=True)
class Travelled:
    """What a round cost beside the model.

    Attributes:
        seconds: Wall-clock time.
        bytes_up: Bytes from the sites.
        bytes_down: Bytes to the sites.
    """

    seconds: float
    bytes_up: int
    bytes_down: int


class PrivateEngine:
    """Runs a private study's rounds over the cohort of one session.

    Args:
        study: The plan.
        layout: Layout of the model vector.
        model: Initial global model, shape ``[P]``, where no round was committed yet.
        session: The session that the cohort joined.
        outside: Sites of the study that are not in it, with the reason.
        roster: The consortium's roster.
        records: What survives a restart; committed rounds are taken up again.
        unmask: Takes masks off a sum.
    """

    def __init__(
        self,
        study: Study,
        *,
        layout: Layout,
        model: Vector,
        session: JoinedSession,
        outside: dict[SiteId, str],
        roster: Roster,
        records: RunRecords,
        unmask: Unmask,
    ) -> None:
        self._study = study
        self._layout = layout
        self._session = session
        self._outside = {site: f"not in the session: {reason}" for site, reason in outside.items()}
        self._roster = roster
        self._records = records
        self._unmask = unmask
        self.committed, self._head = records.committed() or (Committed(study, model), first_head(session))

    @property
    def cohort(self) -> tuple[SiteId, ...]:
        """The sites of the session."""
        return self._session.context.cohort

    @property
    def next_round(self) -> RoundNumber:
        """The round to run next; one after the study's last is the last validation."""
        return self.committed.next_round

    @property
    def encoding(self) -> Encoding:
        """Of the next round."""
        return encoding_of(self._study, self._layout, self.next_round)

    def pending(self) -> CoordinatorAttempt | None:
        """The attempt of the next round whose survivor set was fixed before a restart; None for none."""
        record = self._records.pending()
        if record is None or record.context.round != self.next_round:
            return None
        return self._attempt(record.context, record)

    @property
    def asked(self) -> tuple[SiteId, ...]:
        """Whom the next attempt asks: the cohort, or the one survivor set that the round is bound to.

        Sites that gave shares for it open no other set on this model.
        """
        return self._records.bound(self.next_round) or self.cohort

    @property
    def needed(self) -> int:
        """How many of the asked sites have to upload."""
        return max(self._session.context.sizes.minimum_sum, self._minimum)

    @property
    def _minimum(self) -> int:
        return max(self._study.aggregation.min_sites, len(self._records.bound(self.next_round)))

    def bind(self, sites: tuple[SiteId, ...]) -> None:
        """Shares for the sum over ``sites`` are about to be asked for."""
        self._records.bind(self.next_round, sites)

    def begin(self) -> CoordinatorAttempt:
        """A new attempt of the next round; its number is recorded before anybody hears of it."""
        encoding, number = self.encoding, self.next_round
        context = RoundContext(
            transcript=self._session.transcript,
            round=number,
            attempt=self._records.next_attempt(number),
            model=digest_bytes(vector_hash(self.committed.model)),
            layout=digest_bytes(self._layout.hash),
            encoding=encoding.digest,
            ring_bits=encoding.ring.bits,
            weight_cap=encoding.weight_cap,
        )
        return self._attempt(context)

    def _attempt(self, context: RoundContext, resumed: CoordinatorRecord | None = None) -> CoordinatorAttempt:
        return CoordinatorAttempt(
            self._session.context,
            context,
            roster=self._roster,
            size=self.encoding.size,
            head=self._head,
            store=self._records.store,
            unmask=self._unmask,
            minimum=self._minimum,
            resumed=resumed,
        )

    def commit(
        self, context: RoundContext, opened: Opened, failed: tuple[str, ...], travelled: Travelled
    ) -> RoundRecord:
        """Commit the next round: one step of the global model; durable on return.

        Raises:
            WardroundError: WR-1713, no survivor has any weight.
        """
        found = opened.decoded
        if found.weight < 1:
            raise WardroundError("WR-1713", "The opened sum holds no weight: no survivor trained.")
        record = self._record(context, opened, failed, travelled)
        self._note_validation(RoundNumber(context.round - 1), found)
        total = found.total[: self._layout.size]
        if total.size < found.total.size and self._study.paid_validation(context.round) is not None:
            loss = float(found.total[-1])
            self.committed.validate(paid_validation(self._study, self.next_round, loss, len(opened.sites)))
        self.committed.commit(total, found.weight / self.encoding.weight_cap, record)
        self._keep(context, opened)
        return record

    def commit_validation(self, context: RoundContext, opened: Opened) -> None:
        """Commit the last validation; sites that were missing are noted with the last round."""
        self._note_validation(RoundNumber(context.round - 1), opened.decoded)
        self.lose(opened.missing)
        self._keep(context, opened)

    def lose(self, missing: dict[SiteId, str]) -> None:
        """Sites were missing in the last validation."""
        for site, reason in sorted(missing.items()):
            self.committed.lose(site, reason)

    def _keep(self, context: RoundContext, opened: Opened) -> None:
        cohort = self._session.context
        survivors = survivor_digest(cohort, [cohort.position(site) for site in opened.sites])
        self._head = next_head(self._head, context, survivors, self.committed.model)
        self._records.keep_committed(self.committed, self._head)

    def _note_validation(self, number: RoundNumber, found: DecodedSum) -> None:
        sites = found.counts.get(VALIDATION_LOSS)
        if sites:
            mean = MeanValidation(found.scalars[VALIDATION_LOSS] / sites, sites)
            self.committed.validate(Validation(number, mean=mean))

    def _record(
        self, context: RoundContext, opened: Opened, failed: tuple[str, ...], travelled: Travelled
    ) -> RoundRecord:
        found = opened.decoded
        losses = found.counts.get(TRAINING_LOSS)
        return RoundRecord(
            round=self.next_round,
            sites=opened.sites,
            dropped=dict(sorted((self._outside | opened.missing).items())),
            samples=None,
            train_loss=found.scalars[TRAINING_LOSS] / losses if losses else None,
            train_seconds=None,
            seconds=travelled.seconds,
            bytes_up=travelled.bytes_up,
            bytes_down=travelled.bytes_down,
            attempts=context.attempt,
            silent=dict(sorted(opened.silent.items())),
            failed=failed,
        )


def first_head(session: JoinedSession) -> bytes:
    """Head of an empty log: it names the study run."""
    subject = session.context.study.encode() + b"\x00" + session.context.run.encode()
    return hashlib.sha256(b"wardround/log\x00" + subject).digest()


def next_head(head: bytes, context: RoundContext, survivors: bytes, model: Vector) -> bytes:
    """Head of the log after a commit: over the head before, RC, the survivors and the model that came out."""
    link = head + context.digest + survivors + digest_bytes(vector_hash(model))
    return hashlib.sha256(b"wardround/log link\x00" + link).digest()
