"""The ring never wraps, and the rounding rule is an upper bound that a simulation comes close to."""

import numpy as np
import pytest

from wardround.common.secagg.ring import ROUNDING_LIMIT, Bits, Ring, ring_bits_for, rounding_share


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("sites", [1, 2, 3, 5, 10, 50, 128])
def test_a_full_sum_stays_below_half_of_the_ring_and_one_level_more_would_not(bits: Bits, sites: int) -> None:
    ring = Ring(bits)
    half = 2 ** (bits - 1)
    assert sites * ring.levels(sites) < half
    assert sites * (ring.levels(sites) + 1) >= half
    signed = np.dtype(f"<i{bits // 8}")
    for sign in (1, -1):
        contribution = np.full(1, sign * ring.levels(sites), dtype=signed).view(ring.dtype)
        total = np.zeros(1, dtype=ring.dtype)
        for _ in range(sites):
            total += contribution
        assert int(total.view(signed)[0]) == sign * sites * ring.levels(sites)


def test_limbs_of_128_sites_stay_below_half_of_the_small_ring() -> None:
    assert (Ring(16).holds_limbs(128), Ring(16).holds_limbs(129), Ring(32).holds_limbs(129)) == (True, False, True)
    assert (ring_bits_for(128, 1.0, 1.0), ring_bits_for(129, 1.0, 1.0)) == (16, 32)


def test_values_are_unsigned_little_endian() -> None:
    assert np.array([1], dtype=Ring(16).dtype).tobytes() == b"\x01\x00"
    assert np.array([1], dtype=Ring(32).dtype).tobytes() == b"\x01\x00\x00\x00"
    assert (Ring(16).bytes, Ring(32).bytes) == (2, 4)


def test_other_rings_and_impossible_cohorts_are_bugs() -> None:
    with pytest.raises(ValueError, match="16 or 32"):
        Ring(24)  # type: ignore[arg-type]
    for sites in (0, -1, 2**15):
        with pytest.raises(ValueError, match="sites"):
            Ring(16).levels(sites)
    assert Ring(16).levels(2**15 - 1) == 1


@pytest.mark.parametrize(("sites", "survivors", "weight"), [(3, 3, 1.0), (10, 10, 0.5), (10, 7, 1.0), (50, 50, 0.2)])
def test_the_rule_is_an_upper_bound_within_the_known_factor(sites: int, survivors: int, weight: float) -> None:
    """Spread-out values have a sixth of a squared step where the rule says a quarter."""
    chance = np.random.default_rng(7)
    clip_factor = 8.0
    step = clip_factor / Ring(16).levels(sites)  # of a mean update with RMS 1
    update = chance.normal(size=40_000)
    total = np.zeros_like(update)
    for _ in range(survivors):
        levels = update * weight / step
        total += np.floor(levels + chance.uniform(size=levels.size)) * step
    error = total / (survivors * weight) - update
    measured = float(np.sqrt(np.mean(error**2)) / np.sqrt(np.mean(update**2)))
    predicted = rounding_share(16, sites, clip_factor, weight, survivors=survivors)
    assert measured == pytest.approx(predicted * np.sqrt(4 / 6), rel=0.03)


def test_ties_reach_the_upper_bound() -> None:
    chance = np.random.default_rng(8)
    step = 4.0 / Ring(16).levels(3)
    error = sum(np.floor(0.5 + chance.uniform(size=100_000)) - 0.5 for _ in range(3)) * step / 3
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(rounding_share(16, 3, 4.0, 1.0), rel=0.01)


def test_sixteen_bits_only_up_to_one_percent() -> None:
    edge = ROUNDING_LIMIT / rounding_share(16, 10, 1.0, 1.0)
    assert ring_bits_for(10, edge * 0.999, 1.0) == 16
    assert ring_bits_for(10, edge * 1.001, 1.0) == 32
    assert ring_bits_for(10, edge * 0.999, 0.9) == 32
    assert ring_bits_for(10, edge * 0.999, 1.0, survivors=9) == 32
    assert rounding_share(32, 10, edge, 1.0) < 1e-6


@pytest.mark.parametrize(
    ("sites", "clip_factor", "mean_weight", "survivors"),
    [(0, 1.0, 1.0, None), (3, 0.0, 1.0, None), (3, float("nan"), 1.0, None), (3, 1.0, 0.0, None), (3, 1.0, 1.1, None),
     (3, 1.0, 1.0, 4), (3, 1.0, 1.0, 0)],
)  # fmt: skip
def test_numbers_out_of_range_are_bugs(
    sites: int, clip_factor: float, mean_weight: float, survivors: int | None
) -> None:
    assert rounding_share(16, 3, 1.0, 1.0, survivors=3) > 0
    with pytest.raises(ValueError, match=r"sites|clip factor"):
        rounding_share(16, sites, clip_factor, mean_weight, survivors=survivors)
