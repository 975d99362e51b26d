"""What a study's promise means for a model of a given size: noise, denominators, number of steps.

Hospital and coordinator compute it from the approved study alone. With trust model ``distributed`` a sum opens over
``min_sites`` sites or more, k of which may collude with the coordinator and subtract their own noise; one site always
knows its own. So ``h = min_sites - max(k, 1)`` sites' noise is certain, each of them adds the variance of a step
over h, and what the others add is more than was promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.privacy.lattice import WIDEST, Lattice

if TYPE_CHECKING:
    from wardround.common.privacy.mechanism import SampledGaussian
    from wardround.common.secagg.ring import Ring
    from wardround.common.study import Study

WRAPS: Final = 2.0**-40
"""Probability with which the noise of one round may leave the ring."""


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """The numbers of a study with differential privacy.

    Attributes:
        lattice: Where sums of gradients lie.
        mechanism: One step, as accounting knows it.
        steps: All steps of the study, T.
        denominator: What one site's sum of gradients is divided by: the patients it expects in a step.
        certain: Sites whose noise is certain to be in a sum, h; 1 where every site's noise is enough.
        validation: Where the sum of losses of a validation lies, one value; None where none is paid for.
    """

    lattice: Lattice
    mechanism: SampledGaussian
    steps: int
    denominator: float
    certain: int
    validation: Lattice | None

    @property
    def deviation(self) -> float:
        """Standard deviation of one site's noise in a step, lattice units; 0 for none."""
        return self.lattice.deviation


def noise_plan(study: Study, values: int) -> NoisePlan:
    """The plan of a study whose model has ``values`` trained values.

    Raises:
        RuntimeError: The study has no differential privacy.
    """
    promise = study.promise
    certain = certain_sites(study)
    lattice = Lattice(promise.clip, values, promise.step.multiplier, certain)
    return NoisePlan(
        lattice,
        promise.step,
        study.training.rounds * promise.local_steps,
        promise.expected / len(study.sites),
        certain,
        _validation_lattice(study, certain),
    )


def _validation_lattice(study: Study, certain: int) -> Lattice | None:
    paid = study.promise.validation
    if paid is None:
        return None
    return Lattice(paid.loss_cap, 1, paid.step.multiplier, certain)


def certain_sites(study: Study) -> int:
    """h: how many sites share the noise of one step; 1 where each adds all of it."""
    if not study.distributed:
        return 1
    return study.aggregation.min_sites - max(study.colluding, 1)


def reserve(plan: NoisePlan, sites: int) -> int:
    """Room for the noise of ``sites`` sites in a ring, lattice units: it is left with probability 2^-40 at most.

    A Gaussian exceeds z standard deviations with probability below ``2 exp(-z^2 / 2)`` (Chernoff); over P values
    and a validation ``z = sqrt(2 ln(2 (P + 1) / 2^-40))``. Half a unit for each site's rounding.
    """
    deviation = max(plan.deviation, plan.validation.deviation if plan.validation else 0.0)
    if deviation == 0:
        return 0
    quantile = math.sqrt(2 * math.log(2 * (plan.lattice.values + 1) / WRAPS))
    return math.ceil(quantile * math.sqrt(sites) * deviation + sites / 2)


def ring_limit(plan: NoisePlan, ring: Ring, sites: int) -> int:
    """L: largest magnitude of one site's integer before noise, so that data and noise of all stay in the ring.

    Raises:
        WardroundError: WR-1805, there is room for less than one clipping norm a site.
    """
    room = (1 << (ring.bits - 1)) - 1 - reserve(plan, sites)
    limit = min(WIDEST, room // sites)
    if limit * plan.lattice.step < plan.lattice.clip:
        noise = f"Noise of multiplier {plan.mechanism.multiplier:g} is too little for it: lower privacy.epsilon."
        finer = noise if plan.lattice.multiplier else f"Choose a model of fewer than {plan.lattice.values} values."
        raise WardroundError(
            "WR-1805",
            f"At {sites} sites a ring of {ring.bits} bits has no room for gradients on so fine a lattice. {finer}",
        )
    return limit
