"""What every study run begins with at the coordinator: the layout of what travels, its values, and what is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.models.catalogue import initial_model
from wardround.common.models.initial import frozen_arrays
from wardround.common.models.state import state_arrays
from wardround.common.vector import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from wardround.common.vector import Vector
    from wardround.server.plan import RunPlan


@dataclass(frozen=True)
class Start:
    """The initial model of a run.

    Attributes:
        layout: Of what travels.
        vector: Its values, shape ``[P]``.
        frozen: By name, what never travels; empty where everything is trained.
    """

    layout: Layout
    vector: Vector
    frozen: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, plan: RunPlan) -> Start:
        """Build the plan's model.

        Raises:
            WardroundError: WR-1201, WR-1202, WR-1207 to WR-1210, the model or the file of its initial weights cannot
                be used.
        """
        choice = plan.study.model
        module = initial_model(plan.study, seed=plan.seed, weights=plan.initial_weights)
        state = state_arrays(module, choice.travels)
        layout = Layout.of(state)
        return cls(layout, layout.flatten(state), frozen_arrays(module, choice))
