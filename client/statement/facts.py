"""Every number of a privacy statement, computed from the study and the size of its model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.client.statement import attacker
from wardround.client.statement.cost import epsilon_together, filter_epsilon
from wardround.client.statement.overspent import dearest
from wardround.common.models.catalogue import build_model
from wardround.common.models.conversions import ready_for_privacy
from wardround.common.models.initial import frozen_arrays
from wardround.common.models.state import state_arrays
from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.plan import noise_plan
from wardround.common.secagg.parameters import Threshold
from wardround.common.vector import Layout

if TYPE_CHECKING:
    from wardround.client.statement.rows import Privacy
    from wardround.common.privacy.plan import NoisePlan
    from wardround.common.study import Study
    from wardround.common.study.privacy import Privacy as Promise

WEAK: Final = 10.0
STRONG: Final = 1.0
"""Up to here a promise is called strong, above :data:`WEAK` weak: the tiers of Ponomareva et al. 2023, How to DP-fy ML,
Journal of Artificial Intelligence Research 77, section 5.2."""

FALSE_ALARMS: Final = 0.01
"""Share of false alarms at which the power of an attack is told."""


@dataclass(frozen=True)
class ModelFacts:
    """What a statement needs to know of the model.

    Attributes:
        values: P, how many values are trained, and travel.
        conversions: What was changed so that it can be trained patient by patient, in words.
        frozen: How many values stay as they are in the file of initial weights.
    """

    values: int
    conversions: tuple[str, ...]
    frozen: int = 0


def model_facts(study: Study) -> ModelFacts:
    """Build the model of a study and count.

    Raises:
        WardroundError: WR-1201, WR-1202, WR-1207 or WR-1210, the model cannot be built.
    """
    module = build_model(study.model_copy(update={"privacy": None}), seed=0)
    conversions = ready_for_privacy(module)
    values = Layout.of(state_arrays(module, study.model.travels)).size
    return ModelFacts(values, conversions, sum(array.size for array in frozen_arrays(module, study.model).values()))


@dataclass(frozen=True)
class Facts:
    """The numbers of a study with a promise.

    Numbers on what an attacker can do are those of what was spent, where that is more than was planned.

    Args:
        study: The study.
        model: Of its model.
        rows: Rows of ``results.json`` after a run.
    """

    study: Study
    model: ModelFacts
    rows: tuple[Privacy, ...] = ()

    @property
    def promise(self) -> Promise:
        """The ``[privacy]`` table."""
        return self.study.promise

    @cached_property
    def plan(self) -> NoisePlan:
        """Lattice, noise and number of steps."""
        return noise_plan(self.study, self.model.values)

    @property
    def step(self) -> SampledGaussian:
        """One step, as accounting knows it."""
        return self.plan.mechanism

    @property
    def release(self) -> str:
        """The installed version of wardround."""
        return version("wardround")

    @property
    def beyond(self) -> Privacy | None:
        """The site whose patients paid most, if that is more than was promised."""
        return dearest(self.rows)

    @property
    def epsilon(self) -> float:
        """What holds for every patient: the promise, or the largest epsilon that was spent, if that is more."""
        promised = self.promise.promised or 0.0
        return promised if self.beyond is None else self.beyond.spent_epsilon or promised

    @property
    def steps(self) -> int:
        """Steps that are paid for: those of the study, or of the site that took most, if these are more."""
        return max(self.plan.steps, *(row.spent_steps or 0 for row in self.rows), 0)

    @cached_property
    def accounted(self) -> float:
        """Epsilon of the whole study by privacy loss distributions; infinite without noise."""
        return pld.epsilon(self.step, self.plan.steps, self.promise.delta)

    @cached_property
    def ledger(self) -> float | None:
        """What the ledger takes for the whole study; None without noise."""
        return filter_epsilon(self.study, self.plan.steps)

    @cached_property
    def ledger_of_validation(self) -> float | None:
        """What the ledger takes of a validation patient; None: validation is not paid for."""
        paid = self.promise.validation
        return None if paid is None else epsilon_together(((paid.step, paid.times),), self.promise.delta)

    @cached_property
    def two_hospitals(self) -> float:
        """Epsilon of a patient of two hospitals, for training or, where that is paid for, validation in each.

        With trust model ``local`` two hospitals are two mechanisms with noise of their own, which compose.
        """
        training, paid = self._of_two(self.step, self.steps), self.promise.validation
        if paid is None:
            return training
        one_of_each = epsilon_together(((self.step, self.steps), (paid.step, paid.times)), self.promise.delta)
        return max(training, one_of_each, self._of_two(paid.step, paid.times))

    def _of_two(self, step: SampledGaussian, steps: int) -> float:
        if self.study.distributed:
            return attacker.epsilon_of_two(step, steps, self.promise.delta)
        return pld.epsilon(step, 2 * steps, self.promise.delta)

    @cached_property
    def recognised(self) -> float:
        """Largest share of participants that an attack recognises at 1% false alarms, by what the noise does."""
        return attacker.power_of_steps(FALSE_ALARMS, self.step, self.steps)

    @cached_property
    def right(self) -> float:
        """Largest share of right answers when half took part, by what the noise does."""
        return attacker.success_of_steps(self.step, self.steps)

    @property
    def noise(self) -> float:
        """Standard deviation of a step's noise on each value of the sum of gradients."""
        return self.step.multiplier * self.plan.lattice.sensitivity

    @property
    def noise_share(self) -> float:
        """Norm of a step's noise over the largest norm that the expected patients' sum may have."""
        expected = self.promise.expected
        hospitals = len(self.study.sites)
        patients = expected if self.study.distributed else expected / hospitals
        return self.noise * math.sqrt(self.model.values) / (patients * self.promise.clip)

    @property
    def known_noise(self) -> int:
        """Hospitals of a sum whose noise may be known to the attacker: k, and one that always knows its own."""
        return max(self.study.colluding, 1)

    @property
    def threshold(self) -> Threshold:
        """Of the secure sum of a private study."""
        return Threshold(len(self.study.sites), self.study.colluding, self.study.secure.strength)

    @cached_property
    def one_more_gives_away(self) -> float | None:
        """Epsilon when one hospital's noise more is known than was planned for; None where none would be certain then.

        Only where :attr:`Study.distributed`: there h hospitals share the noise of a step.
        """
        left = self.plan.certain - 1
        if left == 0:
            return None
        weaker = SampledGaussian(self.step.rate, self.step.multiplier * math.sqrt(left / self.plan.certain))
        return pld.epsilon(weaker, self.steps, self.promise.delta)

    @property
    def added_to_delta(self) -> float:
        """Decimal exponent of what sums of rounded noise add to delta: below 10 to this power.

        ``(1 + exp(epsilon)) P n exp(-9 d^2)`` for each step, d being one site's deviation (common/privacy/README.md,
        section 3). Only where :attr:`Study.distributed`.
        """
        count = self.model.values * len(self.study.sites) * self.steps
        logarithm = math.log(count) + float(np.logaddexp(0, self.epsilon)) - 9 * self.plan.deviation**2
        return logarithm / math.log(10)
