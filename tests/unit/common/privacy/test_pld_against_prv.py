"""Epsilon of many steps against Opacus' PRV accountant (Gopi, Lee, Wutschitz 2021), and Balle-Wang at rate 1.

The oracle brackets the truth: its lower bound must never be undercut, and its upper bound must not be exceeded by
more than 1%.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    compute_safe_domain_size,
    discretize,
)
from scipy.optimize import brentq
from scipy.stats import norm

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian

CONFIGURATIONS = 300
FAST = 40


class Configuration(NamedTuple):
    rate: float
    multiplier: float
    steps: int
    delta: float


def configurations(count: int) -> list[Configuration]:
    """Drawn log-uniformly over the ranges of THREATS, section 4; every tenth has rate 1."""
    generator = np.random.default_rng(20)
    found: list[Configuration] = []
    while len(found) < count:
        low, high = np.log([[0.001, 0.4, 1, 1e-6], [1, 50, 10_000, 1e-4]])
        rate, multiplier, steps, delta = np.exp(generator.uniform(low, high)).tolist()
        drawn = Configuration(1.0 if len(found) % 10 == 9 else rate, multiplier, round(steps), delta)
        if 0.1 <= epsilon_of(drawn) <= 30:
            found.append(drawn)
    return found


def epsilon_of(drawn: Configuration) -> float:
    return pld.epsilon(SampledGaussian(drawn.rate, drawn.multiplier), drawn.steps, drawn.delta)


def balle_wang(drawn: Configuration) -> float:
    """Balle and Wang 2018, theorem 8, for the composition of Gaussians: mu = sqrt(T) / sigma."""
    mu = math.sqrt(drawn.steps) / drawn.multiplier

    def excess(epsilon: float) -> float:
        second = math.exp(epsilon + norm.logcdf(-epsilon / mu - mu / 2))
        return float(norm.cdf(-epsilon / mu + mu / 2)) - second - drawn.delta

    return float(brentq(excess, 0, mu * mu / 2 + 10 * mu, xtol=1e-12))


def prv_bounds(drawn: Configuration, error: float) -> tuple[float, float]:
    """Lower and upper bound of epsilon within about ``2 error``, as Opacus' PRVAccountant computes them."""
    delta_error = drawn.delta / 1000
    prv = PoissonSubsampledGaussianPRV(drawn.rate, drawn.multiplier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it would like more Renyi orders, and that logarithms of 0 occur
        size = compute_safe_domain_size([prv], [drawn.steps], error, delta_error)
        mesh = error / math.sqrt(drawn.steps / 2 * math.log(12 / delta_error))
        domain = Domain.create_aligned(-size, size, mesh)
        truncated = TruncatedPrivacyRandomVariable(prv, domain.t_min, domain.t_max)
        composed = compose_heterogeneous([discretize(truncated, domain)], [drawn.steps])
        lower, _, upper = composed.compute_epsilon(drawn.delta, delta_error, error)
    return float(lower), float(upper)


def bounds(drawn: Configuration) -> tuple[float, float]:
    if drawn.rate == 1:
        exact = balle_wang(drawn)
        return exact, exact
    return prv_bounds(drawn, 0.01 * epsilon_of(drawn))


def compare(chosen: list[Configuration]) -> list[float]:
    """Epsilon over the upper bound, for each; refuses what undercuts a lower bound."""
    ratios = []
    for drawn in chosen:
        lower, upper = bounds(drawn)
        ours = epsilon_of(drawn)
        assert lower <= ours <= 1.01 * upper, drawn
        ratios.append(ours / upper)
    return ratios


def test_forty_configurations_lie_within_the_bounds() -> None:
    assert len(compare(configurations(CONFIGURATIONS)[:FAST])) == FAST


@pytest.mark.slow
def test_three_hundred_configurations_lie_within_the_bounds() -> None:
    ratios = compare(configurations(CONFIGURATIONS))
    print(f"{len(ratios)} configurations, epsilon over the oracle's upper bound at most {max(ratios):.6f}")  # noqa: T201
    assert len(ratios) == CONFIGURATIONS
