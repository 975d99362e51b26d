"""The mechanism that everything here accounts for: one step of the Poisson-sampled Gaussian.

Neighbouring relation: **add or remove one patient** of one site. A step draws every patient with
probability ``rate``, independently; the drawn patients' clipped contributions are summed (the sum's
L2 sensitivity is what one patient can change) and Gaussian noise of ``multiplier`` times that
sensitivity is added to every coordinate (Abadi et al. 2016, "Deep learning with differential
privacy", algorithm 1; Mironov, Talwar, Zhang 2019, "Renyi differential privacy of the sampled
Gaussian mechanism", section 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SampledGaussian:
    """One step.

    Args:
        rate: q, the probability that a patient is drawn, in (0, 1].
        multiplier: sigma, the noise's standard deviation over the sensitivity; 0 is no noise at all, whose privacy
            loss is infinite.

    Raises:
        ValueError: A value is out of its range.
    """

    rate: float
    multiplier: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"a sampling rate lies in (0, 1], not {self.rate}")
        if not (self.multiplier >= 0 and math.isfinite(self.multiplier)):
            raise ValueError(f"a noise multiplier is 0 or more and finite, not {self.multiplier}")


def check_steps(steps: int) -> None:
    """Refuse a number of steps that is not 1 or more.

    Raises:
        ValueError: It is below 1.
    """
    if steps < 1:
        raise ValueError(f"the number of steps is 1 or more, not {steps}")


def check_delta(delta: float, smallest: float = 0.0) -> None:
    """Refuse a delta outside (0, 1), or below what a computation supports.

    Raises:
        ValueError: It is.
    """
    if not 0 < delta < 1 or delta < smallest:
        raise ValueError(f"delta lies between {smallest or 'more than 0'} and 1, not {delta}")
