"""The Renyi filter: its budgets, and that interactions which adapt to what came out stay within (epsilon, delta)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import DISPLAY_ORDERS, ORDERS, budget, epsilon_of_rdp, least_limit, rdp


def test_a_budget_is_the_largest_cost_that_converts() -> None:
    allowed = budget(4.0, 1e-5)
    share = 1e-5 / len(ORDERS)
    for order, cost in zip(ORDERS, allowed, strict=True):
        if cost > 0:
            assert epsilon_of_rdp([cost], [order], share) == pytest.approx(4.0, rel=1e-12)
            assert epsilon_of_rdp([cost * 1.001], [order], share) > 4.0


def test_an_order_that_cannot_keep_the_limit_has_a_negative_budget() -> None:
    allowed = budget(1.0, 1e-5)
    assert allowed[0] < 0 < allowed[-1]


def test_the_least_limit_is_where_the_filter_begins_to_admit() -> None:
    costs = 150 * rdp(SampledGaussian(0.5, 3.77), ORDERS)
    limit = least_limit(costs, 1e-5)
    assert np.any(costs <= budget(limit * (1 + 1e-12), 1e-5))
    assert not np.any(costs <= budget(limit * (1 - 1e-9), 1e-5))


def test_an_infinite_limit_admits_everything() -> None:
    allowed = budget(math.inf, 1e-5)
    assert np.all(np.isposinf(allowed))
    assert np.any(rdp(SampledGaussian(1.0, 0.1), ORDERS) <= allowed)


@pytest.mark.parametrize("limit", [1.0, 2.0, 4.0, 8.0, 20.0])
@pytest.mark.parametrize(("rate", "steps"), [(1.0, 30), (0.5, 150), (0.1, 1000), (0.01, 5000)])
def test_what_is_lost_to_the_filter_is_little(rate: float, steps: int, limit: float) -> None:
    """A study that spends ``limit`` by the tight account needs a ledger's limit of at most 1.3 times that."""
    low, high = 0.2, 900.0
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        kept = pld.epsilon(SampledGaussian(rate, middle), steps, 1e-5) <= limit
        low, high = (low, middle) if kept else (middle, high)
    step = SampledGaussian(rate, high)
    needed = least_limit(steps * rdp(step, ORDERS), 1e-5)
    fixed = epsilon_of_rdp(steps * rdp(step, DISPLAY_ORDERS), DISPLAY_ORDERS, 1e-5)
    assert limit < fixed < needed < 1.3 * limit


def test_an_adaptive_adversary_stays_within_the_promise() -> None:
    """Every strategy of a small game, computed exactly.

    A patient takes part in up to six randomised responses; after each answer the adversary picks the next one's
    strength, or stops, by a rule that sees all answers; a request that the filter refuses is skipped. The
    hockey-stick divergence between the two transcripts is summed over all of them.
    """
    strengths = (0.2, 0.5, 1.0)
    orders, epsilon, delta = (2.0, 4.0, 8.0), 1.5, 0.05
    allowed = budget(epsilon, delta, orders)
    too_much = budget(3 * epsilon, delta, orders)
    broken = spent = 0
    for rule in itertools.product(range(len(strengths)), repeat=4):
        present, absent, admitted = _play(rule, strengths, orders, allowed)
        spent += admitted > 2
        assert present.sum() == pytest.approx(1.0)
        assert _divergence(present, absent, epsilon) <= delta
        broken += _divergence(*_play(rule, strengths, orders, too_much)[:2], epsilon) > delta
    assert spent > 50
    assert broken > 10


def _divergence(present: np.ndarray, absent: np.ndarray, epsilon: float) -> float:
    """The smallest delta for which two distributions are (epsilon, delta)-close, both ways."""
    pairs = ((present, absent), (absent, present))
    return max(float(np.maximum(p - math.exp(epsilon) * q, 0).sum()) for p, q in pairs)


def _play(
    rule: tuple[int, ...], strengths: tuple[float, ...], orders: tuple[float, ...], allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities of all transcripts with and without the patient, and the most requests that were admitted."""
    present, absent, most = [], [], 0
    for answers in itertools.product((0, 1), repeat=6):
        p = q = 1.0
        spent, admitted, ones = np.zeros(len(orders)), 0, 0
        for turn, answer in enumerate(answers):
            strength = strengths[rule[(ones + 2 * (turn % 2)) % len(rule)]]
            cost = np.array([_response_cost(strength, order) for order in orders])
            if not np.any(spent + cost <= allowed):
                p, q = p / 2, q / 2  # refused: the coin that stands for an answer tells nothing
                continue
            spent, admitted, ones = spent + cost, admitted + 1, ones + answer
            truth = 1 / (1 + math.exp(-strength))
            p *= truth if answer else 1 - truth
            q *= 1 - truth if answer else truth
        present.append(p)
        absent.append(q)
        most = max(most, admitted)
    return np.array(present), np.array(absent), most


def _response_cost(strength: float, order: float) -> float:
    """Renyi divergence of the two Bernoulli distributions of a randomised response."""
    t = 1 / (1 + math.exp(-strength))
    return math.log(t**order * (1 - t) ** (1 - order) + (1 - t) ** order * t ** (1 - order)) / (order - 1)


@pytest.mark.parametrize(
    ("epsilon", "delta", "orders", "what"),
    [
        (0.0, 1e-5, ORDERS, "limit on epsilon"),
        (math.nan, 1e-5, ORDERS, "limit on epsilon"),
        (1.0, 0.0, ORDERS, "delta"),
        (1.0, 1e-5, (), "one order or more"),
        (1.0, 1e-5, (2.0, 2.0), "each once"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(
    epsilon: float, delta: float, orders: tuple[float, ...], what: str
) -> None:
    assert budget(1.0, 1e-5, (2.0,)).shape == (1,)
    with pytest.raises(ValueError, match=what):
        budget(epsilon, delta, orders)
