"""The sampled Gaussian refuses what is no mechanism."""

from __future__ import annotations

import math

import pytest

from wardround.common.privacy.mechanism import SampledGaussian, check_delta, check_steps


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.0000001, math.nan, math.inf])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    assert SampledGaussian(1.0, 2.0).rate == 1
    with pytest.raises(ValueError, match="sampling rate"):
        SampledGaussian(rate, 2.0)


@pytest.mark.parametrize("multiplier", [-1e-9, math.nan, math.inf])
def test_a_multiplier_that_is_none_is_refused(multiplier: float) -> None:
    assert SampledGaussian(0.5, 0.0).multiplier == 0
    with pytest.raises(ValueError, match="noise multiplier"):
        SampledGaussian(0.5, multiplier)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_outside_its_range_is_refused(delta: float) -> None:
    check_delta(1e-5)
    with pytest.raises(ValueError, match="delta"):
        check_delta(delta)


def test_too_few_steps_are_refused() -> None:
    check_steps(1)
    with pytest.raises(ValueError, match="steps"):
        check_steps(0)
