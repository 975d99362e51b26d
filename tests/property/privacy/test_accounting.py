"""Orderings that hold for every mechanism, whatever it is."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import DISPLAY_ORDERS, ORDERS, budget, epsilon_of_rdp, least_limit, rdp

RATES = st.floats(1e-4, 1.0)
MULTIPLIERS = st.floats(0.35, 100.0)
STEPS = st.integers(1, 3000)
DELTAS = st.floats(-12, -2).map(lambda exponent: 10.0**exponent)
LITTLE = 1e-3


@settings(max_examples=40, deadline=None)
@given(RATES, MULTIPLIERS, STEPS, DELTAS)
@example(9e-5, 1000.0, 60_858, 2e-11)
@example(1e-4, 26.0, 515, 1e-12)
@example(1e-4, 1.03, 248, 1e-12)
def test_epsilon_is_below_renyi_accounting(rate: float, multiplier: float, steps: int, delta: float) -> None:
    step = SampledGaussian(rate, multiplier)
    renyi = epsilon_of_rdp(steps * rdp(step, DISPLAY_ORDERS), DISPLAY_ORDERS, delta)
    assert 0 <= pld.epsilon(step, steps, delta) <= renyi * (1 + LITTLE) + LITTLE


@settings(max_examples=40, deadline=None)
@given(RATES, MULTIPLIERS, STEPS, DELTAS, st.floats(1.05, 3.0))
def test_more_noise_fewer_steps_and_less_rate_cost_less(
    rate: float, multiplier: float, steps: int, delta: float, factor: float
) -> None:
    base = pld.epsilon(SampledGaussian(rate, multiplier), steps, delta) * (1 + LITTLE) + LITTLE
    assert pld.epsilon(SampledGaussian(rate, multiplier * factor), steps, delta) <= base
    assert pld.epsilon(SampledGaussian(rate / factor, multiplier), steps, delta) <= base
    assert pld.epsilon(SampledGaussian(rate, multiplier), max(1, int(steps / factor)), delta) <= base
    assert pld.epsilon(SampledGaussian(rate, multiplier), steps, min(delta * factor, 0.5)) <= base


@settings(max_examples=40, deadline=None)
@given(RATES, MULTIPLIERS, STEPS, st.floats(0, 20))
def test_delta_of_an_epsilon_gives_it_back(rate: float, multiplier: float, steps: int, epsilon: float) -> None:
    step = SampledGaussian(rate, multiplier)
    delta = pld.delta(step, steps, epsilon)
    assert 0 < delta <= 1
    if 1e-12 <= delta < 0.1:  # nearer to 1 nothing is promised, and the grid is coarse
        assert pld.epsilon(step, steps, delta) <= epsilon * (1 + LITTLE) + 3 * LITTLE


@given(st.lists(st.floats(0, 3), min_size=len(ORDERS), max_size=len(ORDERS)), st.floats(0.5, 30), DELTAS)
def test_the_filter_admits_exactly_what_fits_the_limit(costs: list[float], limit: float, delta: float) -> None:
    needed = least_limit(costs, delta)
    admitted = bool(np.any(np.array(costs) <= budget(limit, delta)))
    if abs(needed - limit) > 1e-9:
        assert admitted == (needed < limit)
