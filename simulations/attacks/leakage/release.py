"""What a coordinator that lies gets to see of a hospital under differential privacy.

The hospital's side is the production code: :class:`wardround.client.train.noisy.PatientGradients` draws patients by the
operating system's randomness, clips, rounds and adds noise. Of trust model ``local`` the coordinator is shown every
noisy sum of one hospital, which is more than the differences of weights that leave. Of ``distributed`` it is shown the
sum over the hospitals whose noise is certain; the others collude and subtract theirs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.train.device import choose_device
from wardround.client.train.noisy import PatientGradients
from wardround.common.models.initial import trained_parameters
from wardround.common.privacy.lattice import WIDEST
from wardround.common.privacy.plan import noise_plan, ring_limit
from wardround.common.secagg.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from wardround.client.data.prepare import PreparedSet
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.privacy.plan import NoisePlan
    from wardround.common.study import Study


@dataclass(frozen=True, slots=True)
class Observed:
    """A hospital that is attacked, and the model that the coordinator sends it.

    Args:
        study: With a promise to patients, or ``epsilon = "infinite"``.
        plan: Noise and denominator of the study for this model.
        sites: The attacked hospital first; then, under trust model ``distributed``, honest ones that have no patients,
            whose noise is certain to be in a sum.
        limit: Largest magnitude of a coordinate before noise, lattice units.
    """

    study: Study
    plan: NoisePlan
    sites: tuple[PatientGradients, ...]
    limit: int

    def sums(self, steps: int | None = None) -> Iterator[NDArray[np.float64]]:
        """Noisy sums one after the other, in units of the clipping norm, ``[P]``.

        Args:
            steps: Of how many steps; of all that the study has where it is None.
        """
        for _ in range(self.plan.steps if steps is None else steps):
            yield self.step() / self.plan.lattice.clip

    def mean_sum(self, steps: int | None = None) -> NDArray[np.float64]:
        """Their mean."""
        total, count = np.zeros(self.plan.lattice.values), 0
        for found in self.sums(steps):
            total += found
            count += 1
        return total / count

    def step(self) -> NDArray[np.float64]:
        """One noisy sum, in units of the gradient, ``[P]``."""
        lattice = self.plan.lattice
        found = [site.noisy_sum(lattice, deviation=self.plan.deviation, limit=self.limit).units for site in self.sites]
        return lattice.real(np.sum(found, axis=0))


def observe(
    study: Study, model: nn.Module, data: PreparedSet, indices: NDArray[np.int64], *, random: RandomSource = os.urandom
) -> Observed:
    """Attack a hospital that has the images ``indices`` of ``data``.

    Args:
        study: Whose promise is attacked.
        model: What the coordinator sends, in every round the same unless it is changed in place.
        data: Images of patients who are there, and perhaps of others.
        indices: The training images.
        random: The hospitals' randomness: the operating system's, unless a test needs another.
    """
    plan = noise_plan(study, sum(parameter.numel() for parameter in trained_parameters(model).values()))
    nobody = np.zeros(0, dtype=np.int64)
    device = choose_device("cpu")
    sites = tuple(
        PatientGradients(model, data, own, study, device=device, random=random)
        for own in (indices, *[nobody] * (plan.certain - 1))
    )
    limit = ring_limit(plan, Ring(study.ring_bits), len(study.sites)) if study.distributed else WIDEST
    return Observed(study, plan, sites, limit)
