"""The global model with everything that was committed to it; the same in open and in private mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.algorithms import dpsgd, fedavg
from wardround.common.ids import RoundNumber
from wardround.server.rounds.state import History, Selector

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.server.rounds.state import Chosen, RoundRecord, Validation


class Committed:
    """Commits rounds and validations in order.

    Args:
        study: The plan.
        model: Initial global model, shape ``[P]``; changed in place from round to round.
        history: What was committed before a restart.
        selector: What the selection rule had kept then.
        optimizer: What the coordinator's optimizer remembered then; only joint DP-SGD has one.
    """

    def __init__(
        self,
        study: Study,
        model: Vector,
        *,
        history: History | None = None,
        selector: Selector | None = None,
        optimizer: dpsgd.OptimizerState | None = None,
    ) -> None:
        self._study = study
        self.model = model
        self.history = history or History()
        self.selector = selector or Selector(study.selection)
        self.optimizer = optimizer
        if study.distributed and optimizer is None:
            self.optimizer = dpsgd.initial_state(study.training, model.size)

    @property
    def finished(self) -> bool:
        """Whether every round is committed."""
        return len(self.history.rounds) == self._study.training.rounds

    @property
    def next_round(self) -> RoundNumber:
        """Number of the round after the newest committed one."""
        return RoundNumber(len(self.history.rounds) + 1)

    def commit(self, total: Vector, weight: float, record: RoundRecord) -> None:
        """One step of the global model.

        Args:
            total: Weighted sum of the sites' updates, or noisy sum of their gradients, shape ``[P]``; used as scratch
                space.
            weight: Sum of the weights, above 0.
            record: What happened in the round.
        """
        if self.optimizer is None:
            fedavg.server_step(self.model, total, weight, self._study.aggregation.server_learning_rate)
        else:
            training = self._study.training
            self.optimizer = dpsgd.server_step(
                self.model,
                total,
                self.optimizer,
                denominator=self._study.promise.expected,
                training=training,
                progress=(record.round - 1) / training.rounds,
            )
        self.history = self.history.with_round(record)
        self.selector.after_round(record.round, self.model)

    def validate(self, validation: Validation) -> None:
        """How the present model does; nothing is noted where no site gave a loss."""
        if validation.known:
            self.history = self.history.with_validation(validation)
            self.selector.after_validation(validation, self.model)

    def lose(self, site: SiteId, reason: str) -> None:
        """A site was missing in the last validation; it is noted with the newest round."""
        self.history = self.history.with_loss(site, f"not in the last validation: {reason}")

    def chosen(self) -> Chosen:
        """The model that the study's selection rule reports."""
        return self.selector.chosen()
