"""The typed messages of open studies with differential privacy.

===================  ========================  ===============================================
Flower type          down                      up
===================  ========================  ===============================================
``query.prepare``    run                       nothing but the site
``train.noisy``      round, and the model      round, update, and a validation that is paid for
``query.settle``     run                       nothing but the site
===================  ========================  ===============================================

Everything in it is paid for: no reply holds a count, a loss or a time.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from wardround.common.wire.base import RunContext, SiteReply

PREPARE: Final = "query.prepare"
TRAIN: Final = "train.noisy"
SETTLE: Final = "query.settle"

RoundField = Annotated[int, Field(ge=1, le=10_000)]


class Prepare(RunContext):
    """Asks a hospital to check a study run and reserve its whole budget."""


class Settle(RunContext):
    """Tells a hospital that a run is over: what it never spent is free again."""


class TrainNoisy(RunContext):
    """Asks a hospital to train the model that comes with it; how much, the study says.

    Attributes:
        layout: Hash of the vector's layout.
        round: The round, from 1.
    """

    layout: str
    round: RoundField


class Ready(SiteReply):
    """A site has done what :class:`Prepare` or :class:`Settle` ask."""


class TrainedNoisy(SiteReply):
    """A site's reply to :class:`TrainNoisy`; its update, with noise, comes with it.

    Attributes:
        validation: Where the study pays for a validation in this round: the sum of losses with noise, lattice units.
    """

    round: RoundField
    validation: Annotated[int, Field(ge=-(2**62), le=2**62)] | None = None
