"""Sums on the lattice: how far two neighbours may be apart, what the noise adds, what is refused."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.common.privacy.lattice import FINENESS, FLOAT_SLACK, NOISE_STEPS, Lattice
from wardround.common.privacy.noise import BLOCK

if TYPE_CHECKING:
    from wardround.common.crypto.randomness import RandomSource

LATTICE = Lattice(clip=0.5, values=400, multiplier=2.0)


def same_noise() -> RandomSource:
    """A source that gives the same bytes to each of two calls, so that both get one noise."""
    fixed = os.urandom(4096)
    return lambda size: fixed[:size]


def test_the_numbers_by_hand() -> None:
    assert LATTICE.sensitivity == pytest.approx(0.5 * (1 + 1 / 512))
    assert LATTICE.deviation == 64
    assert LATTICE.step == pytest.approx(2.0 * LATTICE.sensitivity / 64)
    shared = Lattice(clip=0.5, values=400, multiplier=2.0, shares=4)
    assert shared.deviation == 64
    assert shared.step == pytest.approx(LATTICE.step / 2)
    calm = Lattice(clip=0.5, values=400, multiplier=0.0)
    assert calm.deviation == 0
    assert calm.step == pytest.approx(0.5 / 1024 / 20)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_neighbouring_sums_get_one_noise(seed: int, share: float) -> None:
    """One patient more moves what noise is added to by C' at most, and the rounding comes after the noise."""
    generator = np.random.default_rng(seed)
    total = generator.normal(size=400) * 30
    direction = generator.normal(size=400) * generator.integers(0, 2, 400)
    norm = float(np.linalg.norm(direction)) or 1.0
    patient = direction / norm * LATTICE.clip * (1 + FLOAT_SLACK) * share
    source, deviation = same_noise(), LATTICE.deviation
    without, _ = LATTICE.privatise(total, deviation=deviation, random=source)
    with_one, _ = LATTICE.privatise(total + patient, deviation=deviation, random=source)
    moved = (with_one - without) * LATTICE.step - patient
    assert np.abs(moved).max() <= LATTICE.step * (1 + 2.0**-20), "one rounding on either side, and nothing more"
    assert float(np.linalg.norm(patient)) <= LATTICE.sensitivity * (1 + 2.0**-40)


def test_clipping_moves_no_two_sums_apart() -> None:
    generator = np.random.default_rng(1)
    total, other = generator.normal(size=400), generator.normal(size=400)
    free = [LATTICE.privatise(values, deviation=0, random=os.urandom)[0] for values in (total, other)]
    cut = [LATTICE.privatise(values, deviation=0, limit=40, random=os.urandom) for values in (total, other)]
    assert cut[0][1] > 0, "the positive control: something was clipped"
    assert np.abs(cut[0][0]).max() == 40
    assert np.linalg.norm(cut[0][0] - cut[1][0]) <= np.linalg.norm(free[0] - free[1])


def test_values_are_clipped_before_the_noise_and_counted() -> None:
    """What is beyond the limit comes out with the limit's noise, however far beyond it was."""
    source, deviation = same_noise(), 64.0
    far, limits = np.full(400, 1e300), np.full(400, 1000 * LATTICE.step)
    at_limit, none = LATTICE.privatise(limits, deviation=deviation, limit=1000, random=source)
    cut, clipped = LATTICE.privatise(far, deviation=deviation, limit=1000, random=source)
    assert (none, clipped) == (0, 400)
    assert cut.tolist() == at_limit.tolist()
    assert np.abs(cut).max() > 1000


def test_rounding_with_noise_is_unbiased() -> None:
    """The mean of 200,000 values with noise of 16 units errs by 16 / sqrt(200,000); seven of them are 1e-12."""
    wide = Lattice(clip=1.0, values=200_000, multiplier=1.0)
    found, _ = wide.privatise(np.full(200_000, 0.3 * wide.step), deviation=16.0, random=os.urandom)
    assert abs(found.mean() - 0.3) < 7 * 16 / math.sqrt(200_000)


def test_noise_has_the_deviation_asked_for_and_covers_an_empty_draw() -> None:
    wide = Lattice(clip=1.0, values=100_000, multiplier=1.5)
    deviation = wide.deviation
    units, clipped = wide.privatise(np.zeros(100_000), deviation=deviation, random=os.urandom)
    assert clipped == 0
    # The variance of 100,000 Gaussians has a relative deviation of 0.0045; seven of them are 1e-12.
    assert np.std(wide.real(units)) == pytest.approx(1.5 * wide.sensitivity, rel=0.0157)
    again, _ = wide.privatise(np.zeros(100_000), deviation=deviation, random=os.urandom)
    assert np.count_nonzero(units == again) < 2000


def test_what_is_no_sum_is_refused() -> None:
    LATTICE.privatise(np.zeros(400), deviation=0, random=os.urandom)  # the positive control
    for wrong in (np.zeros(399), np.full(400, np.nan), np.full(400, np.inf)):
        with pytest.raises(ValueError, match=r"400 values|is finite"):
            LATTICE.privatise(wrong, deviation=0, random=os.urandom)


def test_fineness_is_what_the_proof_takes() -> None:
    assert (FINENESS, NOISE_STEPS, FLOAT_SLACK) == (2.0**-10, 64, 2.0**-9)


@pytest.mark.parametrize("values", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
@pytest.mark.parametrize("multiplier", [0.0, 1.5])
def test_a_mean_is_the_integers_over_the_denominator(values: int, multiplier: float) -> None:
    lattice, source = Lattice(clip=0.5, values=values, multiplier=multiplier), same_noise()
    total = np.random.default_rng(1).normal(size=values)
    total[::100] *= 1e4  # more than float32 can tell apart from its neighbours
    units, clipped = lattice.privatise(total, deviation=lattice.deviation, random=source)
    found = lattice.privatise_real(total, deviation=lattice.deviation, denominator=7.0, random=source)
    assert clipped == 0
    assert np.abs(units * lattice.step - total).max() < 14 * lattice.deviation * lattice.step + lattice.step
    assert found.dtype == np.float32
    assert np.array_equal(found, units.astype(np.float32) * np.float32(lattice.step / 7.0))


def test_no_zero_of_a_mean_keeps_the_sign_of_what_was_rounded() -> None:
    lattice = Lattice(clip=0.5, values=100_000, multiplier=1.0)
    for deviation in (0.0, 16.0):
        found = lattice.privatise_real(np.full(100_000, -1e-9), deviation=deviation, denominator=1.0, random=os.urandom)
        zeros = found[found == 0]
        assert zeros.size > 1000
        assert not np.signbit(zeros).any()


@pytest.mark.parametrize("deviation", [math.nan, -1.0, 15.9, math.inf])
def test_noise_is_never_left_out_by_mistake(deviation: float) -> None:
    with pytest.raises(ValueError, match="deviation"):
        LATTICE.privatise(np.zeros(400), deviation=deviation, random=os.urandom)
