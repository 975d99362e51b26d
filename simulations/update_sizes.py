"""How large updates are, round by round: what the clipping bounds of a private study are taken from.

Measured in an open run, where replies can be looked at. Of each tensor: the root mean square of the
mean update, which the ring's rounding is compared with, and the largest values of a single site's
update, which clipping would meet first. :mod:`wardround.simulations.bounds` makes settings of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, RootModel

from wardround.common.algorithms import fedavg
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.vector import Layout
from wardround.common.wire.messages import Trained
from wardround.common.wire.records import unpack
from wardround.common.wire.vectors import unpack_vector
from wardround.simulations.grid import InProcessGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from flwr.app import Message
    from numpy.typing import NDArray

    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.simulations.faults import Fault
    from wardround.simulations.grid import Handled

MOST: Final = 0.999
"""Which part of an update's values ``TensorSizes.most`` covers."""


class TensorSizes(BaseModel):
    """Sizes of one tensor's updates in one round.

    Attributes:
        values: Number of values of the tensor.
        rms: Root mean square of the values of the mean update.
        largest: Largest magnitude of a value in any site's update.
        most: Magnitude that 99.9% of the values stay within in every site's update.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    values: int
    rms: float
    largest: float
    most: float


class RoundSizes(BaseModel):
    """Sizes of the updates of one round.

    Attributes:
        round: Its number, from 1.
        patients: Training patients of every site in it.
        tensors: By name, in the order of the layout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int
    patients: dict[str, int]
    tensors: dict[str, TensorSizes]


class UpdateSizes(RootModel[list[RoundSizes]]):
    """Every round of a study run."""


class MeasuringGrid(InProcessGrid):
    """A grid that measures the updates which pass through it, and keeps none of them.

    Args:
        homes: Home folder of every hospital; node ids follow their order.
        observer: Called after each message that a hospital has answered.
        faults: Messages that hospitals leave unanswered.
        study: The open study whose updates are measured.
    """

    def __init__(
        self,
        homes: Mapping[SiteId, Path],
        observer: Callable[[Handled], None] | None,
        faults: Sequence[Fault],
        study: Study,
    ) -> None:
        super().__init__(homes, observer, faults)
        self._weights = study.aggregation.weights
        self._layout = Layout.of(state_arrays(build_model(study, seed=0), study.model.travels))
        self._closed: list[RoundSizes] = []
        self._open: RoundTotal | None = None

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As every grid; the reply has been measured."""
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            if reply.metadata.message_type == "train" and not reply.has_error():
                self._take(unpack(Trained, reply.content), unpack_vector(reply.content, self._layout.size))
        return replies

    def _take(self, reply: Trained, update: Vector) -> None:
        if not np.isfinite(update).all():  # the coordinator leaves it out as well
            return
        if self._open is not None and self._open.number != reply.round:
            self._closed.append(self._open.sizes())
            self._open = None
        if self._open is None:
            self._open = RoundTotal(reply.round, self._layout)
        self._open.add(reply, update, fedavg.site_weight(self._weights, reply.patients))

    def sizes(self) -> UpdateSizes:
        """What was measured, when the run has ended."""
        return UpdateSizes([*self._closed, *([] if self._open is None else [self._open.sizes()])])


class RoundTotal:
    """The updates of one round, while they come in."""

    def __init__(self, number: int, layout: Layout) -> None:
        self.number = number
        self._layout = layout
        self._total: NDArray[np.float32] = np.zeros(layout.size, dtype=np.float32)
        self._weight = 0.0
        self._patients: dict[str, int] = {}
        self._largest = dict.fromkeys((entry.name for entry in layout.entries), 0.0)
        self._most = dict(self._largest)

    def add(self, reply: Trained, update: Vector, weight: float) -> None:
        """Measure one site's update of shape ``[P]``."""
        self._total += update * np.float32(weight)
        self._weight += weight
        self._patients[reply.site] = reply.patients
        for name, part in self._layout.views(update).items():
            magnitudes = np.abs(part)
            self._largest[name] = max(self._largest[name], float(magnitudes.max()))
            self._most[name] = max(self._most[name], float(np.quantile(magnitudes, MOST)))

    def sizes(self) -> RoundSizes:
        """The round as numbers."""
        mean = self._layout.views(self._total / np.float32(self._weight))
        tensors = {
            name: TensorSizes(
                values=part.size,
                rms=float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))),
                largest=self._largest[name],
                most=self._most[name],
            )
            for name, part in mean.items()
        }
        return RoundSizes(round=self.number, patients=self._patients, tensors=tensors)
