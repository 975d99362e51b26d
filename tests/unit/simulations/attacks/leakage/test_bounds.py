"""Bounds on epsilon against closed forms and another library's intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.simulations.attacks.leakage.bounds import (
    Errors,
    Promise,
    any_epsilon,
    clopper_pearson,
    errors_at,
    gaussian_epsilon,
    picked,
    refutes,
)

DELTA = 1e-5


def promise(multiplier: float, steps: int = 4, rate: float = 1.0) -> Promise:
    step = SampledGaussian(rate, multiplier)
    return Promise(step, steps, pld.epsilon(step, steps, DELTA), DELTA)


def best_test(mu: float, alarms: float) -> Errors:
    """The most powerful test of N(0, 1) against N(mu, 1): Dong, Roth, Su 2022, equation 6."""
    return Errors(float(stats.norm.sf(stats.norm.isf(alarms) - mu)), alarms)


@given(st.integers(1, 500), st.data())
def test_clopper_pearson_is_that_of_statsmodels(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = proportion_confint(successes, trials, alpha=0.002, method="beta")
    assert clopper_pearson(successes, trials, 0.001) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_a_bug(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        clopper_pearson(successes, trials, 0.01)


def test_epsilon_of_any_mechanism_is_the_logarithm_of_the_ratio_of_the_errors() -> None:
    assert any_epsilon(Errors(0.5, 0.01), 0.1) == pytest.approx(math.log(0.4 / 0.01))
    assert any_epsilon(Errors(0.99, 0.5), 0.1) == pytest.approx(math.log(0.4 / 0.01))
    assert any_epsilon(Errors(0.2, 0.5), DELTA) == 0
    assert any_epsilon(Errors(0.0, 1.0), DELTA) == 0


def test_errors_are_bounded_from_the_cautious_side() -> None:
    inside, outside = np.array([2.0, 2.0, 2.0, 0.0]), np.array([0.0, 0.0, 2.0, 0.0])
    errors = errors_at(inside, outside, 1.0, 0.01)
    assert errors.hits == pytest.approx(clopper_pearson(3, 4, 0.005)[0])
    assert errors.alarms == pytest.approx(clopper_pearson(1, 4, 0.005)[1])


def test_picking_at_random_has_false_alarms_by_construction() -> None:
    assert picked(12, 12, 1000, 1e-3) == Errors(pytest.approx(1e-3 ** (1 / 12)), 1e-3)
    assert any_epsilon(picked(0, 12, 1000, 1e-3), DELTA) == 0


@pytest.mark.parametrize("alarms", [0.001, 0.05, 0.3, 0.7])
def test_the_curve_of_full_batches_is_the_closed_form(alarms: float) -> None:
    """Four steps of multiplier 2 at rate 1 are one Gaussian of mu = 1."""
    step = SampledGaussian(1.0, 2.0)
    assert not refutes(best_test(1.0, alarms), step, 4)
    assert refutes(best_test(1.15, alarms), step, 4)


def test_no_noise_is_never_refuted() -> None:
    assert not refutes(Errors(1.0, 1e-9), SampledGaussian(1.0, 0.0), 4)


@pytest.mark.parametrize("seen", [0.5, 1.0, 2.0])
def test_epsilon_of_the_refuted_noise(seen: float) -> None:
    """An attack exactly as good as mu allows shows the epsilon of mu, but for the resolution of the search."""
    found = gaussian_epsilon(best_test(seen, 0.2), promise(2.0))
    assert found <= pld.epsilon(SampledGaussian(1.0, 2 / seen), 4, DELTA)
    assert found >= 0.9 * pld.epsilon(SampledGaussian(1.0, 2 / seen), 4, DELTA)


def test_nothing_seen_is_no_epsilon_and_far_too_much_is_the_end_of_the_search() -> None:
    assert gaussian_epsilon(Errors(0.1, 0.3), promise(2.0)) == 0
    least = pld.epsilon(SampledGaussian(1.0, 2.0 / 16), 4, DELTA)
    assert gaussian_epsilon(Errors(1 - 1e-9, 1e-300), promise(2.0)) == pytest.approx(least)
