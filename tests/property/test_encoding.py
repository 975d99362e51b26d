"""Whatever the updates, weights, bounds and survivors: a masked sum opens to the weighted sum of the updates."""

import hashlib
import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wardround.common.crypto.randomness import RandomSource
from wardround.common.secagg.encoding import Encoding
from wardround.common.secagg.masks import Sign, add_masks
from wardround.common.secagg.ring import Bits, Ring
from wardround.common.secagg.scalars import ScalarSlot, Tail, from_limbs, limbs_of, to_limbs

unhurried = settings(deadline=None, max_examples=100)

widths: st.SearchStrategy[Bits] = st.sampled_from((16, 32))
bounds = st.floats(1e-6, 1e6).map(lambda bound: float(np.float32(bound)))
tensors = st.lists(st.tuples(st.integers(1, 6), bounds), min_size=1, max_size=4)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


def source(name: object) -> RandomSource:
    draws = iter(range(1000))
    return lambda size: hashlib.shake_256(repr((name, next(draws))).encode()).digest(size)


@st.composite
def updates_of(draw: st.DrawFn, plan: Encoding) -> NDArray[np.float32]:
    """Values around the bounds, on them, tiny, and as large as a float can be."""
    values: list[float] = []
    for size, bound in plan.tensors:
        near = st.floats(-1.5 * bound, 1.5 * bound)
        exact = st.sampled_from((0.0, bound, -bound, bound / plan.levels, -bound / plan.levels / 2, 1e-45))
        values += draw(st.lists(st.one_of(near, exact, singles), min_size=size, max_size=size))
    return np.array(values, dtype=np.float32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Encoding, list[NDArray[np.float32]], list[int]]:
    sites = draw(st.integers(1, 128))
    plan = Encoding(Ring(draw(widths)), sites, tuple(draw(tensors)), weight_cap=draw(st.integers(1, 1000)))
    survivors = draw(st.integers(1, min(sites, 5)))
    weights = draw(st.lists(st.integers(0, 1200), min_size=survivors, max_size=survivors))
    return plan, [draw(updates_of(plan)) for _ in range(survivors)], weights


@unhurried
@given(cases(), st.integers(0, 2**32))
def test_a_masked_sum_opens_to_the_weighted_sum_within_the_stated_bound(
    case: tuple[Encoding, list[NDArray[np.float32]], list[int]], chance: int
) -> None:
    plan, updates, weights = case
    total = np.zeros(plan.size, dtype=plan.ring.dtype)
    seeds: list[tuple[bytes, Sign]] = []
    for site, (update, weight) in enumerate(zip(updates, weights, strict=True)):
        sent = plan.encode(update, weight=weight, scalars={}, random=source((chance, site))).values
        seeds.append((source((chance, site, "mask"))(32), 1))
        add_masks(sent, seeds[-1:])
        total += sent
    add_masks(total, [(seed, -1) for seed, _ in seeds])
    found = plan.decode(total, len(updates))
    assert found.weight == sum(min(weight, plan.weight_cap) for weight in weights)
    allowed = plan.sum_error_bound(len(updates))
    place = 0
    for (size, bound), error in zip(plan.tensors, allowed, strict=True):
        for value in range(place, place + size):
            exact = sum(
                Fraction(float(np.clip(update[value], -bound, bound))) * min(weight, plan.weight_cap)
                for update, weight in zip(updates, weights, strict=True)
            ) / Fraction(plan.weight_cap)
            assert abs(Fraction(float(found.total[value])) - exact) < Fraction(error)
        place += size


@unhurried
@given(cases(), st.integers(0, 2**32))
def test_one_contribution_never_leaves_its_levels_and_rounds_to_a_neighbour(
    case: tuple[Encoding, list[NDArray[np.float32]], list[int]], chance: int
) -> None:
    plan, updates, weights = case
    values = plan.encode(updates[0], weight=weights[0], scalars={}, random=source(chance)).values
    levels = values.view(f"<i{plan.ring.bytes}").astype(np.int64)[: plan.parameters]
    counted = min(weights[0], plan.weight_cap)
    most = -(-plan.levels * counted // plan.weight_cap)
    assert np.abs(levels).max() <= most <= plan.levels
    assert plan.sites * most < 2 ** (plan.ring.bits - 1)


@unhurried
@given(st.integers(0, 2**48 - 1), st.integers(0, 5))
def test_numbers_survive_their_limbs(number: int, spare: int) -> None:
    limbs = to_limbs(number, limbs_of(number) + spare)
    assert from_limbs(limbs) == number
    assert all(0 <= limb <= 255 for limb in limbs)


@unhurried
@given(
    st.integers(1, 2**24),
    st.lists(
        st.tuples(st.integers(0, 2**24), st.one_of(st.none(), st.just(math.nan), st.floats(-20, 20))),
        min_size=1,
        max_size=128,
    ),
)
def test_the_tail_of_a_sum_is_the_sum_of_the_tails(cap: int, sites: list[tuple[int, float | None]]) -> None:
    slot = ScalarSlot("loss", low=-10.0, high=10.0, resolution=2.0**-10)
    tail = Tail(cap, (slot,))
    told = [tail.encode(min(weight, cap), {} if number is None else {"loss": number}) for weight, number in sites]
    sums = [sum(column) for column in zip(*told, strict=True)]
    assert max(sums) < 2**15
    found = tail.decode(sums, len(sites))
    given_numbers = [number for _, number in sites if number is not None and not math.isnan(number)]
    assert found.weight == sum(min(weight, cap) for weight, _ in sites)
    assert found.counts == {"loss": len(given_numbers)}
    clamped = sum(min(max(number, -10.0), 10.0) for number in given_numbers)
    assert abs(found.sums["loss"] - clamped) <= len(given_numbers) * 2.0**-11 + 1e-9
