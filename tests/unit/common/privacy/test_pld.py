"""Epsilon and delta against closed forms: many Gaussian steps, and one subsampled step in both directions."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from wardround.common.privacy import pld
from wardround.common.privacy.discretised import UNIT
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import DISPLAY_ORDERS, epsilon_of_rdp, rdp


def balle_wang(mu: float, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8: delta of the Gaussian mechanism, 40 digits."""
    with mpmath.workdps(40):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return float(mpmath.ncdf(-e / m + m / 2) - mpmath.exp(e) * mpmath.ncdf(-e / m - m / 2))


def one_step(rate: float, multiplier: float, epsilon: float) -> tuple[float, float]:
    """Delta of one subsampled step, remove and add, from the threshold of the monotone loss, 40 digits."""
    with mpmath.workdps(40):
        q, s, e = mpmath.mpf(rate), mpmath.mpf(multiplier), mpmath.mpf(epsilon)

        def threshold(loss: mpmath.mpf) -> mpmath.mpf:
            return s * s * mpmath.log((mpmath.exp(loss) - 1 + q) / q) + mpmath.mpf(1) / 2

        def above(x: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
            without = mpmath.ncdf(-x / s)
            return (1 - q) * without + q * mpmath.ncdf((1 - x) / s), without

        mixture, without = above(threshold(e))
        remove = mixture - mpmath.exp(e) * without
        if mpmath.exp(-e) <= 1 - q:
            return float(remove), 0.0
        mixture, without = above(threshold(-e))
        return float(remove), float((1 - without) - mpmath.exp(e) * (1 - mixture))


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9, 1e-12])
@pytest.mark.parametrize(
    ("multiplier", "steps"), [(0.1, 1), (0.4, 3), (1.0, 1), (5.0, 1), (10.0, 1000), (20.0, 20_000), (300.0, 20_000)]
)
def test_at_rate_one_epsilon_is_the_gaussians(multiplier: float, steps: int, delta: float) -> None:
    ours = pld.epsilon(SampledGaussian(1.0, multiplier), steps, delta)
    mu = math.sqrt(steps) / multiplier
    assert balle_wang(mu, ours) <= delta  # never below the truth
    assert ours < 0.01 or balle_wang(mu, ours / 1.0006) > delta  # and less than a thousandth above it


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3, 0.9, 0.999999])
@pytest.mark.parametrize("multiplier", [0.3, 1.0, 6.0, 50.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-8])
def test_one_subsampled_step_is_exact(rate: float, multiplier: float, delta: float) -> None:
    ours = pld.epsilon(SampledGaussian(rate, multiplier), 1, delta)
    assert max(one_step(rate, multiplier, ours)) <= delta
    assert ours < 0.01 or max(one_step(rate, multiplier, ours / 1.001)) > delta


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.7])
@pytest.mark.parametrize("multiplier", [0.5, 2.0])
def test_delta_of_one_step_is_exact(rate: float, multiplier: float) -> None:
    for epsilon in (0.0, 0.05, 0.5, 3.0):
        truth = max(one_step(rate, multiplier, epsilon))
        ours = pld.delta(SampledGaussian(rate, multiplier), 1, epsilon)
        assert truth <= ours <= truth * 1.02 + 1e-15


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0, 12.0])
def test_delta_of_many_gaussian_steps(epsilon: float) -> None:
    truth = balle_wang(math.sqrt(400) / 12, epsilon)
    assert truth <= pld.delta(SampledGaussian(1.0, 12.0), 400, epsilon) <= truth * 1.02


def test_the_direction_that_adds_is_covered() -> None:
    """Delta 0.3 at rate 0.9 and little noise is decided by adding a patient, not by removing one."""
    rate, multiplier, epsilon = 0.6, 2.0, 0.02
    remove, add = one_step(rate, multiplier, epsilon)
    assert pld.delta(SampledGaussian(rate, multiplier), 1, epsilon) >= max(remove, add)
    composed = pld._Kept(SampledGaussian(rate, multiplier), 1, 1e-20)
    each = [composed.delta(composed.saddle(direction, epsilon)) for direction in pld.Direction]
    assert each == pytest.approx([remove, add], rel=0.01)


@pytest.mark.parametrize(("rate", "multiplier", "steps"), [(0.5, 3.77, 150), (0.01, 0.8, 5000), (0.2, 8.0, 20_000)])
def test_epsilon_and_delta_are_inverse(rate: float, multiplier: float, steps: int) -> None:
    step = SampledGaussian(rate, multiplier)
    for delta in (1e-4, 1e-6, 1e-10):
        assert pld.delta(step, steps, pld.epsilon(step, steps, delta)) == pytest.approx(delta, rel=0.02)


@pytest.mark.parametrize(("rate", "multiplier", "steps"), [(1.0, 10.0, 100), (0.5, 3.77, 150), (0.01, 0.8, 5000)])
def test_renyi_accounting_is_above(rate: float, multiplier: float, steps: int) -> None:
    step = SampledGaussian(rate, multiplier)
    renyi = epsilon_of_rdp(steps * rdp(step, DISPLAY_ORDERS), DISPLAY_ORDERS, 1e-6)
    assert pld.epsilon(step, steps, 1e-6) < renyi < 1.35 * pld.epsilon(step, steps, 1e-6)


def test_without_noise_nothing_is_private() -> None:
    assert math.isinf(pld.epsilon(SampledGaussian(0.01, 0.0), 1, 1e-5))
    assert pld.delta(SampledGaussian(0.01, 0.0), 1, 10.0) == 1


def test_hardly_any_noise_falls_back_to_renyi_accounting() -> None:
    below, above = (pld.epsilon(SampledGaussian(0.5, multiplier), 1, 1e-5) for multiplier in (0.0999, 0.1))
    assert above < below < 2 * above


def test_a_delta_that_floats_cannot_hold_is_refused() -> None:
    step = SampledGaussian(0.1, 1.0)
    assert pld.epsilon(step, 1, 1e-12) > 0
    for delta in (9e-13, 0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="delta"):
            pld.epsilon(step, 1, delta)


def test_steps_and_epsilons_out_of_range_are_refused() -> None:
    step = SampledGaussian(0.1, 1.0)
    for call in (lambda: pld.epsilon(step, 0, 1e-5), lambda: pld.delta(step, 0, 1.0)):
        with pytest.raises(ValueError, match="steps"):
            call()
    for epsilon in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="epsilon"):
            pld.delta(step, 1, epsilon)


def test_the_normal_tail_is_as_exact_as_the_slack_assumes() -> None:
    """``float_slack`` takes ndtr to be good to (8 + 2 z^2) roundings for z in [-30, 0]."""
    for z in np.linspace(-30, 0, 301):
        with mpmath.workdps(40):
            error = abs(mpmath.mpf(float(ndtr(z))) / mpmath.ncdf(mpmath.mpf(float(z))) - 1)
        assert error <= (8 + 2 * z * z) * UNIT
