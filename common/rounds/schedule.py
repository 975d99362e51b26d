"""The learning rate of a round, at hospitals and at a coordinator that takes the step itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardround.common.study import Training


def learning_rate(training: Training, progress: float) -> float:
    """Learning rate of a round.

    The cosine schedule is that of Loshchilov and Hutter, SGDR, ICLR 2017, without restarts, taken
    in steps of one round.

    Args:
        training: Names the schedule and the rate at the start.
        progress: Completed share of the rounds, from 0 up to but not including 1.

    Raises:
        ValueError: ``progress`` lies outside [0, 1).
    """
    if not 0 <= progress < 1:
        raise ValueError("progress lies in [0, 1)")
    if training.schedule == "constant":
        return training.learning_rate
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
