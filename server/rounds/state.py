"""What a study run has reached after a committed round, and which model it would report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.errors import WardroundError
from wardround.common.ids import RoundNumber

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import SiteId
    from wardround.common.study import Selection, Study
    from wardround.common.vector import Vector


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What happened in one committed round; the vectors themselves are not kept.

    Attributes:
        round: Its number, from 1.
        sites: Sites whose updates are in the sum.
        dropped: Sites left out, with the reason in words.
        samples: Training samples consumed by all sites together; None in private mode, where nobody tells.
        train_loss: Mean over samples, in private mode over sites; None when no sample was consumed.
        train_seconds: Longest time in training steps if sites run side by side, else their sum;
            the runtime decides, see :attr:`seconds`. None in private mode, where no site tells its time.
        seconds: Wall-clock time of the round.
        bytes_up: Bytes of the updates received; in private mode with all that the secure sum adds.
        bytes_down: Bytes of the models sent; likewise.
        attempts: How often the round was tried, 1 in open mode.
        silent: Sites whose updates are in the sum, and that fell silent before it was opened.
        failed: Why earlier attempts of the round ended without a sum, in words.
    """

    round: RoundNumber
    sites: tuple[SiteId, ...]
    dropped: Mapping[SiteId, str]
    samples: int | None
    train_loss: float | None
    train_seconds: float | None
    seconds: float
    bytes_up: int
    bytes_down: int
    attempts: int = 1
    silent: Mapping[SiteId, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeanValidation:
    """All that a secure sum says of a validation: the mean over the sites of the sum.

    Attributes:
        loss: Unweighted mean over ``sites`` sites.
        sites: How many sites gave one, 1 or more.
    """

    loss: float
    sites: int


@dataclass(frozen=True, slots=True)
class Validation:
    """How the global model after a round does on the sites' validation patients.

    Attributes:
        round: The round; 0 stands for the initial model.
        loss: By site; empty in private mode, where nobody but the site knows it.
        metric: By site; likewise.
        mean: In private mode.
    """

    round: RoundNumber
    loss: Mapping[SiteId, float] = field(default_factory=dict)
    metric: Mapping[SiteId, float | None] = field(default_factory=dict)
    mean: MeanValidation | None = None

    @property
    def known(self) -> bool:
        """Whether any site gave a loss."""
        return bool(self.loss) or self.mean is not None

    @property
    def mean_loss(self) -> float:
        """Unweighted mean over sites, so that no large hospital outvotes a small one."""
        if self.mean is not None:
            return self.mean.loss
        return math.fsum(self.loss.values()) / len(self.loss) if self.loss else math.inf


def paid_validation(study: Study, number: RoundNumber, total: float, sites: int) -> Validation:
    """The validation that round ``number`` began with, from a noisy sum over ``sites`` of the study's sites.

    The number of patients that it is divided by is public; with sites missing it shrinks with theirs.

    Args:
        study: Pays for validations.
        number: The round.
        total: Sum of the patients' losses, with noise.
        sites: Sites in the sum, 1 or more.
    """
    patients = study.validation_patients * sites / len(study.sites)
    return Validation(RoundNumber(number - 1), mean=MeanValidation(total / patients, sites))


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

    Attributes:
        rule: The study's.
        kept: The candidate, shape ``[P]``; None before there is one.
        round: The round it stands for.
        best: Its mean validation loss, for the rule ``validation``.
    """

    rule: Selection
    kept: Vector | None = None
    round: int = 0
    best: float = math.inf

    def after_round(self, number: int, model: Vector) -> None:
        """The global model of shape ``[P]`` after a committed round."""
        if self.rule.rule == "validation":
            return
        if self.rule.rule == "ema" and self.kept is not None:
            decay = np.float32(self.rule.ema_decay)
            self.kept *= decay
            self.kept += (1 - decay) * model
        else:
            self.kept = model.copy()
        self.round = number

    def after_validation(self, validation: Validation, model: Vector) -> None:
        """The validation of the global model after round ``validation.round``."""
        if self.rule.rule != "validation" or validation.round < 1:
            return
        if self.kept is None or validation.mean_loss < self.best:
            self.kept, self.round, self.best = model.copy(), validation.round, validation.mean_loss

    def chosen(self) -> Chosen:
        """The model to report.

        Raises:
            WardroundError: WR-1307, no site validated any model, so none can be chosen by validation.
            RuntimeError: No round has been committed.
        """
        if self.kept is None and self.rule.rule == "validation":
            raise WardroundError("WR-1307", "No site gave a validation loss for any round.")
        if self.kept is None:
            raise RuntimeError("no round has been committed")
        return Chosen(self.kept, self.round, self.rule.rule)


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
