"""The rounds of an open study with differential privacy, without I/O.

Every site weighs the same: how many patients or images it has is nobody's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.privacy.plan import noise_plan
from wardround.server.rounds.state import RoundRecord, paid_validation
from wardround.server.rounds.total import LARGEST, WeightedTotal, all_within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import RoundNumber, SiteId
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.noisy import TrainedNoisy
    from wardround.server.rounds.committed import Committed
    from wardround.server.rounds.shelf import Shelf


class NoisyEngine:
    """Runs a study's rounds over its sites.

    Args:
        study: The plan; open, with a promise to patients.
        committed: The global model with what was committed to it; changed in place from round to round.
        outside: Sites that do not take part, with the reason; noted with every round.
        shelf: Where updates wait for their turn in the sum; None: in memory.
    """

    def __init__(
        self,
        study: Study,
        committed: Committed,
        outside: Mapping[SiteId, str] | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._study = study
        self.committed = committed
        self._outside = dict(outside or {})
        self._shelf = shelf
        self._begin()

    def _begin(self) -> None:
        self._total = WeightedTotal(sorted(self._study.site_ids), self.committed.model.size, self._shelf)
        self._sites: list[SiteId] = []
        self._losses: dict[SiteId, int] = {}
        self._dropped: dict[SiteId, str] = {}
        for site, reason in self._outside.items():
            self.drop(site, reason)

    @property
    def next_round(self) -> RoundNumber:
        """The round whose updates are awaited."""
        return self.committed.next_round

    def receive(self, site: SiteId, reply: TrainedNoisy, update: Vector) -> None:
        """Take one site's update of shape ``[P]`` into the sum, or leave the site out with a reason."""
        if reply.round != self.next_round:
            self.drop(site, f"WR-1302: the reply belongs to round {reply.round}")
        elif (reply.validation is None) != (self._study.paid_validation(reply.round) is None):
            self.drop(site, "WR-1302: the reply holds a validation in another round than the study's")
        elif not all_within(update, LARGEST / len(self._study.sites)):
            self.drop(site, "WR-1302: the update holds values that are not finite or too large to be summed")
        else:
            self._total.add(site, update, 1.0)
            self._sites.append(site)
            if reply.validation is not None:
                self._losses[site] = reply.validation

    def drop(self, site: SiteId, reason: str) -> None:
        """The site gives no update in this round."""
        self._total.skip(site)
        self._dropped[site] = reason

    def close_round(self, seconds: float) -> RoundRecord:
        """Commit the round: one step of the global model.

        Raises:
            WardroundError: WR-1303, fewer sites than the study asks for are in the sum.
        """
        minimum = self._study.aggregation.min_sites
        if len(self._sites) < minimum:
            left_out = "; ".join(f"{site}: {reason}" for site, reason in self._dropped.items())
            raise WardroundError(
                "WR-1303",
                f"Round {self.next_round} has {len(self._sites)} of at least {minimum} sites. Left out: {left_out}.",
            )
        record = self._record(seconds)
        self._note_validation()
        self.committed.commit(self._total.vector, self._total.weight, record)
        self._begin()
        return record

    def _note_validation(self) -> None:
        lattice = noise_plan(self._study, self.committed.model.size).validation
        if lattice is not None and self._losses:
            total = sum(self._losses.values()) * lattice.step
            self.committed.validate(paid_validation(self._study, self.next_round, total, len(self._losses)))

    def _record(self, seconds: float) -> RoundRecord:
        size = 4 * self.committed.model.size
        return RoundRecord(
            round=self.next_round,
            sites=tuple(sorted(self._sites)),
            dropped=dict(sorted(self._dropped.items())),
            samples=None,
            train_loss=None,
            train_seconds=None,
            seconds=seconds,
            bytes_up=size * len(self._sites),
            bytes_down=size * (len(self._study.sites) - len(self._outside)),
        )
