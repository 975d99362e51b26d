"""One round after the other: what is asked of which site, and what becomes of the answers.

The engine does no I/O and reads no clock: it hands out instructions, takes replies, and decides.
:mod:`wardround.server.app` carries them over Flower.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wardround.common.algorithms import fedavg
from wardround.common.errors import WardroundError
from wardround.common.ids import RoundNumber, SiteId
from wardround.common.rounds.work import consumed_before, is_validated, samples_in
from wardround.common.wire.messages import Train, Trained, Validated
from wardround.server.rounds.state import RoundRecord, Validation
from wardround.server.rounds.total import LARGEST, WeightedTotal, all_within
from wardround.server.rounds.work import site_totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.study import Study
    from wardround.common.vector import Layout, Vector
    from wardround.common.wire.base import RunContext
    from wardround.server.rounds.committed import Committed
    from wardround.server.rounds.shelf import Shelf
    from wardround.server.rounds.state import Chosen, History


class RoundEngine:
    """Runs a study's rounds over a fixed cohort.

    Args:
        study: The plan.
        context: What every instruction of this run says about itself.
        layout: Layout of the model vector.
        committed: The global model with what was committed to it; changed in place from round to round.
        samples: Training samples of every site of the cohort.
        patients: Training patients of every site of the cohort.
        total: Samples that the whole run may consume, over all sites and rounds.
        outside: Sites of the study outside the cohort, with the reason; noted with every round.
        shelf: Where updates wait for their turn in the sum; None: in memory.

    Raises:
        WardroundError: WR-1308, a round would have fewer sites than the study asks for.
    """

    def __init__(
        self,
        study: Study,
        *,
        context: RunContext,
        layout: Layout,
        committed: Committed,
        samples: Mapping[SiteId, int],
        patients: Mapping[SiteId, int],
        total: int,
        outside: Mapping[SiteId, str] | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._study = study
        self._context = context
        self._layout = layout
        self._order = tuple(sorted(samples))
        self._patients = dict(patients)
        self._outside = dict(outside or {})
        self._totals = site_totals(samples, total)
        self._refuse_empty_rounds()
        self._committed = committed
        self._open: OpenRound | None = None
        self._shelf = shelf

    def _refuse_empty_rounds(self) -> None:
        """Refuse before any training what could only fail in some round."""
        rounds, minimum = self._study.training.rounds, self._study.aggregation.min_sites
        for number in range(1, rounds + 1):
            busy = sum(self._samples(site, number) > 0 for site in self._order)
            if busy < minimum:
                work = sum(self._totals.values())
                raise WardroundError(
                    "WR-1308",
                    f"{work} samples in {rounds} rounds leave {busy} of at least {minimum} sites in round {number}.",
                )

    def _samples(self, site: SiteId, number: int) -> int:
        return samples_in(self._totals[site], self._study.training.rounds, number)

    @property
    def model(self) -> Vector:
        """The global model, shape ``[P]``."""
        return self._committed.model

    @property
    def history(self) -> History:
        """Everything that was committed."""
        return self._committed.history

    @property
    def finished(self) -> bool:
        """Whether every round is committed."""
        return self._committed.finished

    def open_round(self) -> dict[SiteId, Train]:
        """Start the next round: the instruction for each site that has work in it.

        Raises:
            RuntimeError: A round is open, or all rounds are committed.
        """
        if self._open is not None or self.finished:
            raise RuntimeError("no round can be opened now")
        number = self._committed.next_round
        instructions = {site: work for site in self._order if (work := self._instruction(site, number)) is not None}
        self._open = OpenRound(number, instructions, self._layout.size, self._shelf)
        return instructions

    def _instruction(self, site: SiteId, number: RoundNumber) -> Train | None:
        rounds = self._study.training.rounds
        start = consumed_before(self._totals[site], rounds, number)
        samples = self._samples(site, number)
        if samples < 1:
            return None
        return Train(
            **self._context.model_dump(),
            layout=self._layout.hash,
            round=number,
            rounds=rounds,
            start=start,
            samples=samples,
            validate_first=is_validated(self._study, number - 1),
        )

    def receive(self, site: SiteId, reply: Trained, update: Vector) -> None:
        """Take one site's update of shape ``[P]`` into the sum, or leave the site out with a reason."""
        opened = self._opened()
        weight = fedavg.site_weight(self._study.aggregation.weights, reply.patients)
        problem = opened.problem(site, reply, update, weight)
        if problem is None and reply.patients != self._patients[site]:
            problem = f"WR-1302: the site described {self._patients[site]} training patients, now {reply.patients}"
        if problem is not None:
            opened.drop(site, problem)
            return
        opened.accept(site, reply, update, weight)

    def drop(self, site: SiteId, reason: str) -> None:
        """The site gives no update in this round."""
        self._opened().drop(site, reason)

    def close_round(self, seconds: float) -> RoundRecord:
        """Commit the round: one step of the global model.

        Raises:
            WardroundError: WR-1303, fewer sites than the study asks for are in the sum.
        """
        opened = self._opened()
        minimum = self._study.aggregation.min_sites
        if len(opened.replies) < minimum:
            left_out = "; ".join(f"{site}: {reason}" for site, reason in opened.dropped.items())
            raise WardroundError(
                "WR-1303",
                f"Round {opened.number} has {len(opened.replies)} of at least {minimum} sites. Left out: {left_out}.",
            )
        self._note_validation(RoundNumber(opened.number - 1), opened.validation())
        record = opened.record(seconds, self._layout.size, self._outside)
        self._committed.commit(opened.total.vector, opened.total.weight, record)
        self._open = None
        return record

    def validated(self, replies: Mapping[SiteId, Validated], missing: Mapping[SiteId, str] | None = None) -> None:
        """The sites' validation of the global model after the last committed round.

        Args:
            replies: What the sites found.
            missing: Sites that did not answer, with the reason; noted as losses of the last round.
        """
        for site, reason in sorted((missing or {}).items()):
            self._committed.lose(site, reason)
        self._note_validation(RoundNumber(len(self.history.rounds)), replies)

    def _note_validation(self, number: RoundNumber, replies: Mapping[SiteId, Validated]) -> None:
        self._committed.validate(
            Validation(
                number,
                {site: reply.loss for site, reply in sorted(replies.items()) if reply.loss is not None},
                {site: reply.metric for site, reply in sorted(replies.items())},
            )
        )

    def chosen(self) -> Chosen:
        """The model that the study's selection rule reports."""
        return self._committed.chosen()

    def _opened(self) -> OpenRound:
        if self._open is None:
            raise RuntimeError("no round is open")
        return self._open


class OpenRound:
    """The answers of a round that is not committed yet."""

    def __init__(self, number: RoundNumber, asked: Mapping[SiteId, Train], size: int, shelf: Shelf | None) -> None:
        self.number = number
        self.asked = asked
        self.total = WeightedTotal(tuple(asked), size, shelf)
        self.replies: dict[SiteId, Trained] = {}
        self.dropped: dict[SiteId, str] = {}

    def problem(self, site: SiteId, reply: Trained, update: Vector, weight: float) -> str | None:
        """Why an update cannot be used with this weight; None when it can."""
        if site not in self.asked or reply.site != site:
            return "WR-1302: the reply names another site"
        if reply.round != self.number:
            return f"WR-1302: the reply belongs to round {reply.round}"
        if reply.patients < 1:
            return "WR-1302: the site reports no training patient"
        if reply.samples != self.asked[site].samples:
            return f"WR-1302: the site trained on {reply.samples} samples instead of {self.asked[site].samples}"
        if not all_within(update, LARGEST / (weight * len(self.asked))):
            return "WR-1302: the update holds values that are not finite or too large to be summed"
        return None

    def accept(self, site: SiteId, reply: Trained, update: Vector, weight: float) -> None:
        """Take a checked update into the sum."""
        self.total.add(site, update, weight)
        self.replies[site] = reply

    def drop(self, site: SiteId, reason: str) -> None:
        """Leave a site out of this round."""
        self.total.skip(site)
        self.dropped[site] = reason

    def validation(self) -> dict[SiteId, Validated]:
        """How the model that the round started from did on the sites' validation patients."""
        return {
            site: Validated(site=site, loss=reply.validation_loss, metric=reply.validation_metric)
            for site, reply in self.replies.items()
        }

    def record(self, seconds: float, size: int, outside: Mapping[SiteId, str]) -> RoundRecord:
        """What happened in the round."""
        replies = [self.replies[site] for site in sorted(self.replies)]
        samples = sum(reply.samples for reply in replies)
        loss = math.fsum(reply.loss * reply.samples for reply in replies) / samples if samples else None
        return RoundRecord(
            round=self.number,
            sites=tuple(sorted(self.replies)),
            dropped={**outside, **self.dropped},
            samples=samples,
            train_loss=loss,
            train_seconds=math.fsum(reply.train_seconds for reply in replies),
            seconds=seconds,
            bytes_up=4 * size * len(replies),
            bytes_down=4 * size * len(self.asked),
        )
