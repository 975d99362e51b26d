"""Bounds on an attacker against the exact trade-off of two Gaussians, and against definitions worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from wardround.client.statement import attacker
from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian

EPSILONS = st.floats(0, 20)
DELTAS = st.floats(0, 0.5)


@pytest.mark.parametrize(("prior", "epsilon", "expected"), [(0.5, math.log(3), 0.75), (0.1, math.log(9), 0.5)])
def test_posterior_odds_grow_by_the_factor(prior: float, epsilon: float, expected: float) -> None:
    assert attacker.posterior(prior, epsilon) == pytest.approx(expected)


def test_without_loss_an_attacker_guesses() -> None:
    assert attacker.posterior(0.3, 0.0) == pytest.approx(0.3)
    assert attacker.success(0.0, 0.0) == 0.5
    assert attacker.power(0.01, 0.0, 0.0) == pytest.approx(0.01)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_success_is_that_of_the_best_test_on_the_boundary(epsilon: float, delta: float) -> None:
    """The share of right answers is (1 + power - false alarms) / 2, largest over all false alarms."""
    best = max((1 + attacker.power(x / 2000, epsilon, delta) - x / 2000) / 2 for x in range(2001))
    assert best <= attacker.success(epsilon, delta) + 1e-9
    assert best >= attacker.success(epsilon, delta) - 1e-3


@given(alarms=st.floats(0, 1), epsilon=EPSILONS, delta=DELTAS)
def test_power_allows_what_the_definition_allows_and_no_more(alarms: float, epsilon: float, delta: float) -> None:
    found = attacker.power(alarms, epsilon, delta)
    factor = math.exp(epsilon)
    assert found <= factor * alarms + delta + 1e-9
    assert 1 - alarms <= factor * (1 - found) + delta + 1e-9 * factor
    at_an_edge = max(found - (factor * alarms + delta), 1 - alarms - factor * (1 - found) - delta, found - 1)
    assert at_an_edge >= -1e-9 * factor


@pytest.mark.parametrize(("multiplier", "steps"), [(2.0, 1), (4.0, 16), (3.0, 100)])
def test_steps_over_everybody_have_the_trade_off_of_two_gaussians(multiplier: float, steps: int) -> None:
    """Dong, Roth and Su 2022: at rate 1 the power at false alarms a is Phi(Phi^-1(a) + sqrt(T) / sigma)."""
    shift = math.sqrt(steps) / multiplier
    step = SampledGaussian(1.0, multiplier)
    for alarms in (0.001, 0.01, 0.1):
        exact = float(norm.cdf(norm.ppf(alarms) + shift))
        found = attacker.power_of_steps(alarms, step, steps)
        assert exact <= found <= exact + 0.03
    assert attacker.success_of_steps(step, steps) == pytest.approx(float(norm.cdf(shift / 2)), abs=1e-3)


def test_without_noise_everybody_is_recognised() -> None:
    assert attacker.power_of_steps(0.01, SampledGaussian(0.5, 0.0), 10) == 1.0
    assert attacker.success_of_steps(SampledGaussian(0.5, 0.0), 10) == 1.0


def test_two_hospitals_cost_at_least_what_two_times_the_steps_cost() -> None:
    step, steps, delta = SampledGaussian(0.1, 2.0), 100, 1e-5
    one, two = pld.epsilon(step, steps, delta), attacker.epsilon_of_two(step, steps, delta)
    assert pld.epsilon(step, 2 * steps, delta) < two
    assert 2 * one < two < 4 * one


@pytest.mark.parametrize(("multiplier", "steps"), [(2.0, 4), (0.7, 4), (6.0, 100)])
def test_two_of_everybody_are_a_gaussian_with_twice_the_shift(multiplier: float, steps: int) -> None:
    """At rate 1 the person moves every sum by 2 sensitivities: exactly the mechanism with half the multiplier."""
    exact = pld.epsilon(SampledGaussian(1.0, multiplier / 2), steps, 1e-5)
    assert attacker.epsilon_of_two(SampledGaussian(1.0, multiplier), steps, 1e-5) == pytest.approx(exact)


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_the_bound_for_two_covers_the_two_records_that_are_drawn_apart(rate: float) -> None:
    """One step against the exact mixture of 0, 1 and 2 records, both directions, by numerical integration."""
    sigma, delta = 1.5, 1e-5
    bound = attacker.epsilon_of_two(SampledGaussian(rate, sigma), 1, delta)
    x = np.linspace(-14, 16, 400_001)
    without = norm.pdf(x, 0, sigma)
    weights = ((1 - rate) ** 2, 2 * rate * (1 - rate), rate**2)
    both = sum(weight * norm.pdf(x, shift, sigma) for shift, weight in enumerate(weights))
    for one, other in ((both, without), (without, both)):
        assert np.trapezoid(np.maximum(one - math.exp(bound) * other, 0), x) <= delta


def test_no_bound_for_two_without_noise() -> None:
    assert attacker.epsilon_of_two(SampledGaussian(1.0, 0.0), 100, 1e-5) == math.inf
