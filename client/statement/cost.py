"""What steps of a study cost a patient: by privacy loss distributions, and as a hospital's ledger counts it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.ledger.cost import cost, enforced_epsilon
from wardround.client.ledger.events import Mechanism
from wardround.common.privacy import pld
from wardround.common.privacy.witness import Bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.privacy.mechanism import SampledGaussian
    from wardround.common.study import Study


def epsilon_of(study: Study, steps: int) -> float | None:
    """What so many steps of the study cost a patient, by privacy loss distributions; None where there is no noise."""
    if steps == 0:
        return 0.0
    found = pld.epsilon(study.promise.step, steps, study.promise.delta)
    return found if math.isfinite(found) else None


def epsilon_together(parts: Sequence[tuple[SampledGaussian, int]], delta: float) -> float:
    """What steps of several mechanisms with noise cost one patient together, as a ledger counts it."""
    totals = sum(cost(Mechanism(rate=step.rate, multiplier=step.multiplier), steps) for step, steps in parts)
    return enforced_epsilon(np.reshape(totals, (1, -1)), Bound(epsilon=1.0, delta=delta))


def filter_epsilon(study: Study, steps: int) -> float | None:
    """The smallest limit at which a hospital's ledger lets so many steps pass; None where there is no noise."""
    step, delta = study.promise.step, study.promise.delta
    if step.multiplier == 0:
        return None
    totals = cost(Mechanism(rate=step.rate, multiplier=step.multiplier), steps)[None]
    return enforced_epsilon(totals, Bound(epsilon=1.0, delta=delta))
