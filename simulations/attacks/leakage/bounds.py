"""From how often an attack was right to a lower bound on epsilon, with confidence.

An attack says of somebody that they are in. Its rate of hits when they are, and of false alarms when they are not, is
bounded by differential privacy (add/remove one patient): for every epsilon, ``hits <= e^epsilon alarms +
delta(epsilon)``, and the same with the two exchanged (Kairouz, Oh, Viswanath, ICML 2015, theorem 2.1). Read the other
way round:

* :func:`any_epsilon` holds for **any** mechanism, at one delta. It is far from tight for Gaussian noise.
* :func:`refutes` compares with the whole curve delta(epsilon) that accounting gives for the promised noise: tight.
* :func:`gaussian_epsilon` is the epsilon of the largest noise that is refuted, for mechanisms of the study's rate and
  steps: Nasr, Hayes, Steinke, Balle, Tramèr, Jagielski, Carlini, Thakurta, Tight Auditing of Differentially Private
  Machine Learning, USENIX Security 2023, section 4.

An attack that picks the victim out of c candidates, who are alike to it as long as the victim is not there, has false
alarms 1 / c by construction (Hayes, Mahloujifar, Balle, Bounding Training Data Reconstruction in DP-SGD, NeurIPS 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAILURE: Final = 1e-3
"""Probability with which a bound that holds for any mechanism may be wrong: 99.9% confidence."""

CERTAIN: Final = 1e-6
"""The same for comparisons with the whole curve, which decide between pass and fail and are tight."""

SLOPES: Final = 12
"""Epsilons at which two curves are compared."""

WIDEST: Final = 16.0
"""Noise is looked for up to this factor above and below the promised one."""

RESOLUTION: Final = 0.01
"""To which the refuted noise is found, on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a study promises, as its accounting has it.

    Args:
        step: One step.
        steps: All of them, T.
        epsilon: Privacy loss of all steps together.
        delta: Probability with which it may be exceeded.
    """

    step: SampledGaussian
    steps: int
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Errors:
    """How often an attack was right, with confidence.

    Args:
        hits: Lower bound of the probability that somebody who is in is called in.
        alarms: Upper bound of the probability that somebody who is not is called in.
    """

    hits: float
    alarms: float

    @property
    def opposite(self) -> Errors:
        """The same attack as one that says who is not in."""
        return Errors(1 - self.alarms, 1 - self.hits)

    @property
    def words(self) -> str:
        """For people."""
        return f"hits at least {self.hits:.3f}, false alarms at most {self.alarms:.3g}"


def clopper_pearson(successes: int, trials: int, failure: float) -> tuple[float, float]:
    """Lower and upper bound of a probability, each wrong with probability ``failure`` at most.

    Clopper and Pearson, Biometrika 1934.

    Raises:
        ValueError: No trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} trials")
    low = 0.0 if successes == 0 else float(stats.beta.ppf(failure, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.isf(failure, successes + 1, trials - successes))
    return low, high


def errors_at(inside: NDArray[np.float64], outside: NDArray[np.float64], threshold: float, failure: float) -> Errors:
    """How well ``score > threshold`` tells who is in; wrong with probability ``failure`` at most.

    Args:
        inside: Scores of those who are in, ``[a]``; independent.
        outside: Scores of those who are not, ``[b]``.
        threshold: Chosen without these scores.
        failure: Half of it for each of the two bounds.
    """
    hits, _ = clopper_pearson(int(np.count_nonzero(inside > threshold)), len(inside), failure / 2)
    _, alarms = clopper_pearson(int(np.count_nonzero(outside > threshold)), len(outside), failure / 2)
    return Errors(hits, alarms)


def picked(right: int, victims: int, candidates: int, failure: float) -> Errors:
    """Of an attack that picked ``right`` of ``victims`` victims, each out of ``candidates``."""
    return Errors(clopper_pearson(right, victims, failure)[0], 1 / candidates)


def any_epsilon(errors: Errors, delta: float) -> float:
    """Largest epsilon that the errors refute at ``delta``, whatever the mechanism; 0 if they refute none."""
    return max(0.0, *(_log_ratio(way.hits - delta, way.alarms) for way in (errors, errors.opposite)))


def _log_ratio(above: float, below: float) -> float:
    if above <= 0:
        return 0.0
    return math.log(above / below) if below > 0 else math.inf


def refutes(errors: Errors, step: SampledGaussian, steps: int) -> bool:
    """Whether no attack on ``steps`` of these steps can be as good as this."""
    if step.multiplier == 0:
        return False
    return any(
        way.hits > math.exp(slope) * way.alarms + pld.delta(step, steps, float(slope))
        for way in (errors, errors.opposite)
        for slope in _slopes(way)
    )


def _slopes(errors: Errors) -> NDArray[np.float64]:
    """Epsilons at which the curve may lie below the errors; beyond them ``e^epsilon alarms`` alone exceeds the hits."""
    most = min(_log_ratio(errors.hits, errors.alarms), 50.0)
    return np.linspace(0, most, SLOPES, endpoint=False) if most > 0 else np.zeros(0)


def gaussian_epsilon(errors: Errors, promise: Promise) -> float:
    """Epsilon, at the promise's delta, of the largest noise that the errors refute.

    Args:
        errors: Of an attack on all steps.
        promise: Its rate and steps, and where the search begins.

    Returns:
        0 where even 16 times the promised noise is not refuted; where a sixteenth of it still is, the epsilon of that.
    """

    def noise(exponent: float) -> SampledGaussian:
        return SampledGaussian(promise.step.rate, promise.step.multiplier * math.exp(exponent))

    low, high = -math.log(WIDEST), math.log(WIDEST)
    if not refutes(errors, noise(high), promise.steps):
        return 0.0
    if refutes(errors, noise(low), promise.steps):
        high = low
    while high - low > RESOLUTION:
        middle = (low + high) / 2
        low, high = (low, middle) if refutes(errors, noise(middle), promise.steps) else (middle, high)
    return pld.epsilon(noise(high), promise.steps, promise.delta)
