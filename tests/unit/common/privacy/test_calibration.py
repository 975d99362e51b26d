"""The multiplier that is solved keeps the promise, and hardly a smaller one does."""

from __future__ import annotations

import math

import pytest

from wardround.common.errors import WardroundError
from wardround.common.privacy import pld
from wardround.common.privacy.calibration import multiplier_for
from wardround.common.privacy.mechanism import SampledGaussian


@pytest.mark.parametrize(
    ("rate", "steps", "epsilon", "delta"),
    [
        (0.5, 150, 8.0, 1e-5),
        (0.25, 100, 1.0, 1e-5),
        (1.0, 20_000, 1.0, 1e-5),
        (0.01, 20_000, 4.0, 1e-6),
        (0.001, 10_000, 1.0, 1e-9),
        (0.1, 1, 0.5, 1e-5),
        (1.0, 3, 30.0, 1e-5),
    ],
)
def test_the_multiplier_is_the_smallest(rate: float, steps: int, epsilon: float, delta: float) -> None:
    multiplier = multiplier_for(rate, steps, epsilon, delta)
    assert round(multiplier * 10_000) / 10_000 == multiplier
    assert pld.epsilon(SampledGaussian(rate, multiplier), steps, delta) <= epsilon
    smaller = multiplier * (1 - 1e-4) - 1e-4
    assert pld.epsilon(SampledGaussian(rate, smaller), steps, delta) > epsilon


def test_the_gaussians_multiplier_is_the_closed_forms() -> None:
    """Balle and Wang 2018, section 3: epsilon 1, delta 1e-5 needs sigma 3.730632 for sensitivity 1."""
    assert multiplier_for(1.0, 1, 1.0, 1e-5) == pytest.approx(3.730632, rel=3e-4)


def test_more_steps_more_rate_and_less_epsilon_need_more_noise() -> None:
    base = multiplier_for(0.1, 100, 4.0, 1e-5)
    assert multiplier_for(0.1, 200, 4.0, 1e-5) > base
    assert multiplier_for(0.2, 100, 4.0, 1e-5) > base
    assert multiplier_for(0.1, 100, 3.0, 1e-5) > base
    assert multiplier_for(0.1, 100, 4.0, 1e-6) > base


def test_a_promise_that_hardly_needs_noise_gets_the_least() -> None:
    assert multiplier_for(1.0, 1, 1000.0, 1e-5) == 0.1


def test_what_cannot_be_reached_is_refused() -> None:
    assert multiplier_for(1.0, 1000, 1.0, 1e-5) < 1000
    with pytest.raises(WardroundError) as refused:
        multiplier_for(1.0, 1000, 0.05, 1e-5)
    assert refused.value.code == "WR-1801"


@pytest.mark.parametrize(
    ("rate", "steps", "epsilon", "delta"),
    [
        (0.0, 1, 1.0, 1e-5),
        (0.5, 0, 1.0, 1e-5),
        (0.5, 1, 0.0, 1e-5),
        (0.5, 1, math.inf, 1e-5),
        (0.5, 1, 1.0, 1e-13),
    ],
)
def test_arguments_out_of_range_are_refused(rate: float, steps: int, epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match=r"rate|steps|epsilon|delta"):
        multiplier_for(rate, steps, epsilon, delta)
