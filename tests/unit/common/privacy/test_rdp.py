"""Renyi costs against the definition in 30 digits and against Opacus; the conversion against its own integral."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from opacus.accountants.analysis.rdp import compute_rdp

from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import DISPLAY_ORDERS, ORDERS, epsilon_of_rdp, rdp


def defined(rate: float, multiplier: float, order: float) -> float:
    """Mironov, Talwar, Zhang 2019, definition of A_alpha: an integral over the line, 30 digits."""
    with mpmath.workdps(30):
        q, s, a = mpmath.mpf(rate), mpmath.mpf(multiplier), mpmath.mpf(order)

        def integrand(z: mpmath.mpf) -> mpmath.mpf:
            ratio = 1 - q + q * mpmath.exp((2 * z - 1) / (2 * s * s))
            return ratio**a * mpmath.npdf(z, 0, s)

        points = [2 * s * i for i in range(-6, 7 + math.ceil(order / multiplier / 2))]
        return float(mpmath.log(mpmath.quad(integrand, points)) / (a - 1))


@pytest.mark.parametrize("order", [1.1, 1.75, 2.0, 6.5])
@pytest.mark.parametrize("multiplier", [0.3, 2.0, 1000.0])
@pytest.mark.parametrize("rate", [1e-4, 0.5, 0.999])
def test_a_cost_is_the_integral(rate: float, multiplier: float, order: float) -> None:
    assert rdp(SampledGaussian(rate, multiplier), [order])[0] == pytest.approx(
        defined(rate, multiplier, order), rel=1e-11
    )


@pytest.mark.parametrize("order", [*range(2, 64), 100, 128, 256])
def test_whole_orders_agree_with_opacus(order: int) -> None:
    for rate, multiplier in ((1e-4, 0.3), (0.01, 0.7), (0.1, 1.3), (0.5, 4.0), (0.9, 20.0)):
        oracle = compute_rdp(q=rate, noise_multiplier=multiplier, steps=1, orders=float(order))
        # Opacus adds ln(1 + tiny) up from 1, and so knows it to about 1e-15
        assert rdp(SampledGaussian(rate, multiplier), [order])[0] == pytest.approx(oracle, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("order", [1.5, 2.25, 3.7, 5.5, 9.25, 17.3])
def test_fractional_orders_agree_with_opacus(order: float) -> None:
    # its alternating series loses its digits at small rates with much noise; the integral above covers those
    for rate, multiplier in ((0.01, 0.7), (0.05, 0.9), (0.1, 1.3), (0.3, 2.0), (0.5, 4.0)):
        oracle = compute_rdp(q=rate, noise_multiplier=multiplier, steps=1, orders=order)
        assert rdp(SampledGaussian(rate, multiplier), [order])[0] == pytest.approx(oracle, rel=1e-9, abs=1e-11)


def test_rate_one_is_the_gaussian() -> None:
    orders = [1.25, 2.0, 33.0, 256.0]
    assert rdp(SampledGaussian(1.0, 3.0), orders).tolist() == [order / 18 for order in orders]
    near = rdp(SampledGaussian(1 - 1e-13, 3.0), orders)
    assert near == pytest.approx([order / 18 for order in orders], rel=1e-9)


def test_without_noise_the_cost_is_infinite() -> None:
    assert np.all(np.isinf(rdp(SampledGaussian(0.5, 0.0), ORDERS)))
    assert math.isinf(epsilon_of_rdp(rdp(SampledGaussian(0.5, 0.0), ORDERS), ORDERS, 1e-5))


def test_costs_of_the_whole_range_are_finite_and_rise_with_the_order() -> None:
    for rate in (1e-4, 0.01, 0.7, 0.999999, 1.0):
        for multiplier in (0.3, 2.0, 1000.0):
            costs = rdp(SampledGaussian(rate, multiplier), DISPLAY_ORDERS)
            assert np.all(np.isfinite(costs))
            assert np.all(costs > 0)
            assert np.all(np.diff(costs) > 0)


@pytest.mark.parametrize("order", [1.0, 0.5, 1025.0, math.nan, math.inf])
def test_orders_out_of_range_are_refused(order: float) -> None:
    with pytest.raises(ValueError, match="order"):
        rdp(SampledGaussian(0.5, 1.0), [2.0, order])


def test_the_conversion_is_proposition_12() -> None:
    """The largest (1 - e^(eps - z)) e^(-(alpha - 1) z) over z is what Markov's inequality divides by."""
    order, cost, delta = 5.0, 0.3, 1e-6
    epsilon = epsilon_of_rdp([cost], [order], delta)
    z = np.linspace(epsilon, epsilon + 3, 3_000_001)
    largest = np.max((1 - np.exp(epsilon - z)) * np.exp(-(order - 1) * z))
    assert largest * math.exp((order - 1) * cost) == pytest.approx(delta, rel=1e-9)


def test_the_conversion_takes_the_best_order_and_is_never_negative() -> None:
    costs, orders = [0.1, 0.2, 5.0], [2.0, 16.0, 64.0]
    each = [epsilon_of_rdp([cost], [order], 1e-5) for cost, order in zip(costs, orders, strict=True)]
    assert epsilon_of_rdp(costs, orders, 1e-5) == min(each)
    assert epsilon_of_rdp([0.0], [200.0], 0.5) == 0


def test_costs_without_their_orders_are_refused() -> None:
    for costs, orders in (([1.0], [2.0, 3.0]), ([], [])):
        with pytest.raises(ValueError, match="orders for"):
            epsilon_of_rdp(costs, orders, 1e-5)
