"""The typed messages of open mode, and those that both modes share: hello and scoring.

Every message is one frozen model with scalar fields, checked on both sides. The model vector
travels beside it (:mod:`wardround.common.wire.records`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wardround.common.wire.base import Count, Finite, RunContext, Seconds, SiteReply, WireMessage


class Hello(WireMessage):
    """Asks a node which site it is."""


class HelloReply(SiteReply):
    """Which site a node is."""


class Describe(RunContext):
    """Asks a hospital how much training data it brings (open mode)."""


class Description(SiteReply):
    """How much training data a site brings."""

    patients: Count
    samples: Count


class Train(RunContext):
    """Asks a hospital to train the model that comes with it.

    Attributes:
        layout: Hash of the vector's layout.
        round: The round, from 1.
        rounds: Rounds in the study.
        start: Samples that this site has consumed in earlier rounds of this run.
        samples: Samples to consume now.
        validate_first: Whether to score the model as received on the validation patients first.
    """

    layout: str
    round: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    start: Count
    samples: Annotated[int, Field(ge=1, le=2**53)]
    validate_first: bool = True


class Trained(SiteReply):
    """A site's reply to :class:`Train`; its update comes with it.

    Attributes:
        patients: Training patients: the site's weight when weights are by patients.
        loss: Mean training loss over the samples consumed.
        train_seconds: Time in training steps.
        seconds: Time in the whole call.
        validation_loss: Of the model as received, over validation images; None without any.
        validation_metric: AUROC or Dice of the model as received; None when undefined.
    """

    round: Annotated[int, Field(ge=1)]
    patients: Count
    samples: Count
    loss: Finite
    train_seconds: Seconds
    seconds: Seconds
    validation_loss: Finite | None = None
    validation_metric: Finite | None = None


class Validate(RunContext):
    """Asks a hospital to score the model that comes with it on its validation patients."""

    layout: str


class Validated(SiteReply):
    """A site's reply to :class:`Validate`."""

    loss: Finite | None = None
    metric: Finite | None = None


class Score(RunContext):
    """Asks a hospital to score the model that comes with it, patient by patient, and keep the table.

    Attributes:
        layout: Hash of the vector's layout.
        part: ``test`` patients of the split, or ``all`` patients of a site that never trained.
    """

    layout: str
    part: Literal["test", "all"]


class Scored(SiteReply):
    """A site's reply to :class:`Score`: it is done. Neither a score nor a count leaves."""
