"""What a study run has reached after a committed round, and which model it would report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import RoundNumber, SiteId
    from wardround.common.study import Selection
    from wardround.common.vector import Vector


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What happened in one committed round; the vectors themselves are not kept.

    Attributes:
        round: Its number, from 1.
        sites: Sites whose updates are in the sum.
        dropped: Sites left out, with the reason in words.
        samples: Training samples consumed by all sites together.
        train_loss: Mean over samples; None when no sample was consumed.
        train_seconds: Longest time in training steps if sites run side by side, else their sum;
            the runtime decides, see :attr:`seconds`.
        seconds: Wall-clock time of the round.
        bytes_up: Bytes of the updates received.
        bytes_down: Bytes of the models sent.
    """

    round: RoundNumber
    sites: tuple[SiteId, ...]
    dropped: Mapping[SiteId, str]
    samples: int
    train_loss: float | None
    train_seconds: float
    seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True)
class Validation:
    """How the global model after a round does on each site's validation patients."""

    round: RoundNumber
    loss: Mapping[SiteId, float]
    metric: Mapping[SiteId, float | None]

    @property
    def mean_loss(self) -> float:
        """Unweighted mean over sites, so that no large hospital outvotes a small one."""
        return math.fsum(self.loss.values()) / len(self.loss) if self.loss else math.inf


@dataclass(frozen=True)
class Chosen:
    """The model that the run reports.

    Attributes:
        model: Shape ``[P]``.
        round: The round it stands for.
        rule: ``last``, ``ema`` or ``validation``.
    """

    model: Vector
    round: int
    rule: str


@dataclass
class Selector:
    """Keeps the candidate that the study's rule would report; test patients play no part.

    ``ema`` starts from the model after round 1 and forgets the initial model.
    """

    rule: Selection
    _kept: Vector | None = None
    _round: int = 0
    _best: float = field(default=math.inf)

    def after_round(self, number: int, model: Vector) -> None:
        """The global model of shape ``[P]`` after a committed round."""
        if self.rule.rule == "validation":
            return
        if self.rule.rule == "ema" and self._kept is not None:
            decay = np.float32(self.rule.ema_decay)
            self._kept *= decay
            self._kept += (1 - decay) * model
        else:
            self._kept = model.copy()
        self._round = number

    def after_validation(self, validation: Validation, model: Vector) -> None:
        """The validation of the global model after round ``validation.round``."""
        if self.rule.rule != "validation" or validation.round < 1:
            return
        if self._kept is None or validation.mean_loss < self._best:
            self._kept, self._round, self._best = model.copy(), validation.round, validation.mean_loss

    def chosen(self) -> Chosen:
        """The model to report.

        Raises:
            WardroundError: WR-1307, no site validated any model, so none can be chosen by validation.
            RuntimeError: No round has been committed.
        """
        if self._kept is None and self.rule.rule == "validation":
            raise WardroundError("WR-1307", "No site gave a validation loss for any round.")
        if self._kept is None:
            raise RuntimeError("no round has been committed")
        return Chosen(self._kept, self._round, self.rule.rule)


@dataclass(frozen=True)
class History:
    """Everything a run has committed, in order."""

    rounds: tuple[RoundRecord, ...] = ()
    validations: tuple[Validation, ...] = ()

    def with_round(self, record: RoundRecord) -> History:
        """The history after one more round."""
        return replace(self, rounds=(*self.rounds, record))

    def with_loss(self, site: SiteId, reason: str) -> History:
        """The history after a site was found missing in the newest round."""
        newest = self.rounds[-1]
        dropped = {**newest.dropped, site: reason}
        return replace(self, rounds=(*self.rounds[:-1], replace(newest, dropped=dropped)))

    def with_validation(self, validation: Validation) -> History:
        """The history after one more validation."""
        return replace(self, validations=(*self.validations, validation))
