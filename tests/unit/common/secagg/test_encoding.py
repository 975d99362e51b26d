"""Encoding against a plain sum in exact arithmetic: error bounds, unbiasedness, refusals, memory."""

import hashlib
import math
import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from Crypto.Cipher import AES  # another implementation than the one under test
from numpy.typing import NDArray

from wardround.common.crypto.randomness import RandomSource
from wardround.common.errors import WardroundError
from wardround.common.secagg.encoding import EncodedUpdate, Encoding
from wardround.common.secagg.ring import Bits, Ring, RingVector
from wardround.common.secagg.rounding import BLOCK
from wardround.common.secagg.scalars import ScalarSlot

LOSS = ScalarSlot("training_loss", low=0.0, high=16.0, resolution=2.0**-12)
TENSORS = ((5, 0.5), (BLOCK - 1000, 0.01), (1, 3.0), (30_000, 2.0))
SIZE = sum(size for size, _ in TENSORS)
BOUNDS = np.repeat([bound for _, bound in TENSORS], [size for size, _ in TENSORS])
BOTH: list[Bits] = [16, 32]


def source(name: object) -> RandomSource:
    """Bytes that depend on the name and the number of draws only."""
    draws = iter(range(10_000))
    return lambda size: hashlib.shake_256(repr((name, next(draws))).encode()).digest(size)


def encoding(bits: Bits, sites: int = 4, cap: int = 10) -> Encoding:
    return Encoding(Ring(bits), sites, TENSORS, weight_cap=cap, scalars=(LOSS,))


def update(name: int, *, times: float = 0.3) -> NDArray[np.float32]:
    values: NDArray[np.float64] = np.random.default_rng(name).normal(size=SIZE) * BOUNDS * times
    return values.astype(np.float32)


def encoded(plan: Encoding, vector: NDArray[np.float32], weight: int = 10, name: object = 0) -> EncodedUpdate:
    return plan.encode(vector, weight=weight, scalars={}, random=source(name))


def signed(values: RingVector) -> NDArray[np.int64]:
    return values.view(f"<i{values.itemsize}").astype(np.int64)


def summed(parts: list[EncodedUpdate]) -> RingVector:
    total = parts[0].values.copy()
    for part in parts[1:]:
        total += part.values
    return total


@pytest.mark.parametrize("bits", BOTH)
@pytest.mark.parametrize("survivors", [1, 3, 4])
def test_a_sum_is_the_weighted_sum_within_the_stated_bound(bits: Bits, survivors: int) -> None:
    plan = encoding(bits)
    weights = [10, 3, 25, 1][:survivors]
    updates = [update(site, times=0.8) for site in range(survivors)]
    parts = [
        plan.encode(vector, weight=weight, scalars={"training_loss": weight / 8}, random=source(weight))
        for vector, weight in zip(updates, weights, strict=True)
    ]
    found = plan.decode(summed(parts), survivors)
    exact = sum(
        np.clip(vector.astype(np.float64), -BOUNDS, BOUNDS) * min(weight, 10) / 10
        for vector, weight in zip(updates, weights, strict=True)
    )
    bound = np.repeat(plan.sum_error_bound(survivors), [size for size, _ in TENSORS])
    assert np.all(np.abs(found.total - exact) < bound)
    assert found.weight == sum(min(weight, 10) for weight in weights)
    assert found.scalars == {"training_loss": sum(weights) / 8}
    assert found.counts == {"training_loss": survivors}
    assert found.total.dtype == np.float32


def test_the_stated_bound_is_one_step_a_survivor_and_little_more() -> None:
    plan = encoding(16)
    for step, bound in zip(plan.steps, plan.sum_error_bound(3), strict=True):
        assert 3 * step < bound < 3.02 * step
    assert plan.steps[0] == 0.5 / (32_767 // 4)


@pytest.mark.parametrize("bits", BOTH)
@pytest.mark.parametrize("sites", [1, 3, 7, 50, 128])
@pytest.mark.parametrize("weight", [1, 3, 7, 10])
def test_no_value_exceeds_the_levels_whatever_the_update(bits: Bits, sites: int, weight: int) -> None:
    """Values on the bound, just beyond it and near the largest float: the sum over all sites cannot wrap."""
    plan = encoding(bits, sites)
    vector = BOUNDS.astype(np.float32)
    vector[1::3] *= np.float32(-1.0)
    vector[2::5] = np.nextafter(vector[2::5], np.float32(np.inf))
    vector[3::7] = np.finfo(np.float32).max
    vector[4::11] = -np.finfo(np.float32).max
    values = signed(encoded(plan, vector, weight).values)[:SIZE]
    assert np.abs(values).max() <= math.ceil(plan.levels * weight / 10)
    assert np.abs(values).max() >= math.floor(plan.levels * weight / 10)
    assert sites * np.abs(values).max() < 2 ** (bits - 1)


@pytest.mark.parametrize("bits", BOTH)
def test_rounding_is_unbiased_and_only_to_the_neighbours(bits: Bits) -> None:
    """Over N roundings of one value the mean has a standard deviation of at most 0.5 / sqrt(N) steps."""
    sites = 5
    count = 1 << 18
    plan = Encoding(Ring(bits), sites, ((count, 1.0),))
    for wanted in (0.0, 0.01, 0.25, 0.5, 0.875, -0.125, -0.5, 100.3, -2000.7):
        value = np.float32(wanted * plan.steps[0])
        exact = float(Fraction(float(value)) * plan.levels)
        found = signed(plan.encode(np.full(count, value), weight=1, scalars={}, random=source(wanted)).values)[:count]
        assert found.min() >= math.floor(exact)
        assert found.max() <= math.ceil(exact)
        assert abs(found.mean() - exact) < 5 * 0.5 / math.sqrt(count) + 2.0**-11


def test_each_encoding_draws_new_dither_from_its_source_alone() -> None:
    plan, vector = encoding(16), update(1)
    first, again, other = encoded(plan, vector, name=1), encoded(plan, vector, name=1), encoded(plan, vector, name=2)
    assert np.array_equal(first.values, again.values)
    assert np.mean(first.values != other.values) > 0.2
    drawn: list[int] = []

    def counting(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    plan.encode(vector, weight=1, scalars={}, random=counting)
    assert drawn == [32]


@pytest.mark.parametrize("bits", BOTH)
def test_each_value_is_rounded_with_its_own_part_of_the_keystream(bits: Bits) -> None:
    """The five steps of the rounding in Python's integers, with another implementation of AES."""
    plan, vector = encoding(bits), update(11, times=0.6)
    key = source("dither")(32)
    found = signed(plan.encode(vector, weight=7, scalars={}, random=lambda _: key).values)[:SIZE]
    stream = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(SIZE * bits // 8))
    dither = np.frombuffer(stream, dtype=f"<u{bits // 8}").tolist()
    real = np.float32 if bits == 16 else np.float64
    largest = 7 / 10 * plan.levels * 2.0**bits
    for value in range(0, SIZE, 7):
        scaled = real(vector[value]) * real(largest / BOUNDS[value])
        units = int(np.clip(scaled, -real(largest), real(largest)))
        assert found[value] == (units + dither[value]) // 2**bits


@pytest.mark.parametrize("bits", BOTH)
def test_dither_of_different_blocks_is_different(bits: Bits) -> None:
    plan = Encoding(Ring(bits), 3, ((3 * BLOCK, 1.0),))
    half = np.full(3 * BLOCK, plan.steps[0] / 2, dtype=np.float32)
    found = plan.encode(half, weight=1, scalars={}, random=source(0)).values[: 3 * BLOCK].reshape(3, BLOCK)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.mean(found[one] == found[other]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("bits", BOTH)
def test_no_work_gives_zeros_and_says_so(bits: Bits) -> None:
    plan = encoding(bits)
    idle = plan.encode(update(3, times=5.0), weight=0, scalars={}, random=source(0))
    assert not idle.values.any()
    assert (idle.clipped, idle.rounding_share) == (0.0, 0.0)
    busy = encoded(plan, update(4), 6)
    found = plan.decode(summed([busy, idle]), 2)
    assert (found.weight, found.counts) == (6, {"training_loss": 0})


def test_a_weight_above_the_cap_is_the_cap() -> None:
    plan, vector = encoding(16), update(5)
    assert np.array_equal(encoded(plan, vector, 11).values, encoded(plan, vector, 10).values)
    assert not np.array_equal(encoded(plan, vector, 9).values, encoded(plan, vector, 10).values)


@pytest.mark.parametrize("bits", BOTH)
@pytest.mark.parametrize("times", [0.2, 1.0, 40.0])
def test_clipped_is_the_share_of_values_beyond_their_bound(bits: Bits, times: float) -> None:
    vector = update(6, times=times)
    expected = np.mean(np.abs(vector) > BOUNDS.astype(np.float32))
    assert encoded(encoding(bits), vector).clipped == pytest.approx(expected, abs=1.5 / SIZE)


@pytest.mark.parametrize("times", [0.001, 0.02, 0.2])
def test_the_rounding_share_is_what_rounding_did(times: float) -> None:
    plan, vector = encoding(16, sites=50), update(7, times=times)
    part = encoded(plan, vector, 5)
    steps = np.repeat(plan.steps, [size for size, _ in TENSORS])
    wanted = np.clip(vector.astype(np.float64), -BOUNDS, BOUNDS) / 2
    error = signed(part.values)[:SIZE] * steps - wanted
    assert part.rounding_share == pytest.approx(np.sqrt(np.mean(error**2) / np.mean(wanted**2)), rel=0.001)


@pytest.mark.parametrize("bits", BOTH)
def test_the_rounding_share_of_a_large_update_is_measured_on_a_part(bits: Bits) -> None:
    count = 12 * BLOCK + 17
    plan = Encoding(Ring(bits), 50, ((count, 1.0),))
    vector = np.random.default_rng(1).normal(size=count).astype(np.float32) * np.float32(0.05)
    part = plan.encode(vector, weight=1, scalars={}, random=source(0))
    assert part.rounding_share == pytest.approx(plan.steps[0] / math.sqrt(6) / 0.05, rel=0.02)


@pytest.mark.parametrize("bits", BOTH)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 5, BLOCK - 1, BLOCK, SIZE - 1])
@pytest.mark.parametrize("weight", [0, 10])
def test_what_is_not_finite_is_refused_whole(bits: Bits, bad: float, place: int, weight: int) -> None:
    plan, vector = encoding(bits), update(8)
    assert encoded(plan, vector, weight).values.size == plan.size
    vector[place] = bad
    with pytest.raises(WardroundError, match="not finite") as refused:
        encoded(plan, vector, weight)
    assert refused.value.code == "WR-1710"


def test_another_size_is_refused_and_another_type_or_weight_is_a_bug() -> None:
    plan, vector = encoding(16), update(9)
    for other in (vector[:-1], np.append(vector, np.float32(0)), vector[None]):
        with pytest.raises(WardroundError, match="shape") as refused:
            encoded(plan, other)
        assert refused.value.code == "WR-1710"
    with pytest.raises(TypeError, match="float32"):
        encoded(plan, vector.astype(np.float64))
    with pytest.raises(ValueError, match="weight"):
        encoded(plan, vector, -1)
    with pytest.raises(ValueError, match="accuracy"):
        plan.encode(vector, weight=1, scalars={"accuracy": 1.0}, random=source(0))


def test_the_update_is_not_changed_and_the_result_shows_no_values() -> None:
    plan, vector = encoding(16), update(10, times=3.0)
    before = vector.copy()
    part = encoded(plan, vector)
    assert np.array_equal(vector, before)
    assert "values" not in repr(part)
    assert "clipped" in repr(part)


@pytest.mark.parametrize("bits", BOTH)
def test_a_sum_that_still_holds_a_mask_is_refused(bits: Bits) -> None:
    plan = encoding(bits)
    total = summed([encoded(plan, update(site)) for site in range(3)])
    assert plan.decode(total, 3).weight == 30
    beyond = total.copy()
    beyond[70] = 3 * plan.levels + 1
    masked = total + np.random.default_rng(0).integers(0, 2**bits, plan.size).astype(total.dtype)
    for wrong in (beyond, masked):
        with pytest.raises(WardroundError, match="opened sum") as refused:
            plan.decode(wrong, 3)
        assert refused.value.code == "WR-1713"


def test_a_sum_of_another_size_type_or_number_of_sites_is_a_bug() -> None:
    plan = encoding(16)
    total = encoded(plan, update(0)).values
    for wrong in (total[:-1], total.astype(np.uint32)):
        with pytest.raises(ValueError, match="expected"):
            plan.decode(wrong, 1)
    for survivors in (0, 5):
        with pytest.raises(ValueError, match="survivors"):
            plan.decode(total, survivors)


def test_every_public_parameter_changes_the_digest() -> None:
    plan = encoding(16)
    others = [
        replace(plan, ring=Ring(32)),
        replace(plan, sites=5),
        replace(plan, tensors=(*TENSORS[:-1], (30_000, 2.5))),
        replace(plan, tensors=(*TENSORS[:-1], (30_001, 2.0))),
        replace(plan, tensors=TENSORS[::-1]),
        replace(plan, weight_cap=11),
        replace(plan, scalars=()),
        *(
            replace(plan, scalars=(replace(LOSS, **change),))
            for change in ({"name": "loss"}, {"low": -1.0}, {"high": 15.0}, {"resolution": 2.0**-11})
        ),
    ]
    digests = {other.digest for other in others} | {plan.digest}
    assert len(digests) == len(others) + 1
    assert all(len(digest) == 32 for digest in digests)
    assert encoding(16).digest == plan.digest


def test_the_digest_is_that_of_the_written_json() -> None:
    plan = Encoding(Ring(16), 3, ((2, 0.5), (4, 1.0)), weight_cap=7, scalars=(ScalarSlot("a", 0.0, 1.0, 0.25),))
    text = '{"bits":16,"format":1,"scalars":[["a",0,1,0.25]],"sites":3,"tensors":[[2,0.5],[4,1]],"weight_cap":7}'
    assert plan.digest == hashlib.sha256(text.encode()).digest()


def test_parameters_that_cannot_be_are_bugs() -> None:
    ring = Ring(16)
    assert Encoding(ring, 128, ((1, 1.0),)).size == 2
    assert Encoding(Ring(32), 129, ((1, 1.0),)).size == 2
    for tensors in ((), ((0, 1.0),), ((1, 0.0),), ((1, math.nan),), ((1, math.inf),), ((1, -1.0),)):
        with pytest.raises(ValueError, match=r"tensor|bounds"):
            Encoding(ring, 3, tensors)
    for sites in (0, 129):
        with pytest.raises(ValueError, match="sites"):
            Encoding(ring, sites, ((1, 1.0),))
    with pytest.raises(ValueError, match="cap"):
        Encoding(ring, 3, ((1, 1.0),), weight_cap=0)


def test_encoding_allocates_its_result_and_little_else() -> None:
    size = 10_000_000
    plan = Encoding(Ring(16), 3, ((size, 1.0),))
    vector = np.full(size, 0.3, dtype=np.float32)
    tracemalloc.start()
    try:
        part = plan.encode(vector, weight=1, scalars={}, random=source(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert part.values.nbytes < peak < part.values.nbytes + 0.1 * vector.nbytes
