"""Sums on the lattice: how far two neighbours may be apart, what the noise adds, what is refused."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.common.privacy.lattice import FINENESS, FLOAT_SLACK, Lattice

if TYPE_CHECKING:
    from wardround.common.crypto.randomness import RandomSource

LATTICE = Lattice(clip=0.5, values=400)


def same_dither() -> RandomSource:
    """A source that gives the same bytes to each of two calls, so that both are rounded with one dither."""
    fixed = os.urandom(4096)
    return lambda size: fixed[:size]


def test_the_numbers_by_hand() -> None:
    assert LATTICE.step == pytest.approx(0.5 / 1024 / 20)
    assert LATTICE.sensitivity == pytest.approx(0.5 * (1 + 1 / 512))
    assert LATTICE.deviation(2.0) == pytest.approx(2.0 * LATTICE.sensitivity / LATTICE.step)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_neighbouring_sums_stay_within_the_sensitivity(seed: int, share: float) -> None:
    """One patient more moves the rounded sum by C' at most, whatever the sum was: the claim that noise rests on."""
    generator = np.random.default_rng(seed)
    total = generator.normal(size=400) * 30
    direction = generator.normal(size=400) * generator.integers(0, 2, 400)
    norm = float(np.linalg.norm(direction)) or 1.0
    patient = direction / norm * LATTICE.clip * (1 + FLOAT_SLACK) * share
    source = same_dither()
    without, _ = LATTICE.privatise(total, deviation=0, random=source)
    with_one, _ = LATTICE.privatise(total + patient, deviation=0, random=source)
    apart = float(np.linalg.norm((with_one - without).astype(np.float64))) * LATTICE.step
    assert apart <= LATTICE.sensitivity


def test_clipping_moves_no_two_sums_apart() -> None:
    generator = np.random.default_rng(1)
    total, other, source = generator.normal(size=400), generator.normal(size=400), same_dither()
    free = [LATTICE.privatise(values, deviation=0, random=source)[0] for values in (total, other)]
    cut = [LATTICE.privatise(values, deviation=0, limit=20_000, random=source) for values in (total, other)]
    assert cut[0][1] > 0, "the positive control: something was clipped"
    assert np.abs(cut[0][0]).max() == 20_000
    assert np.linalg.norm(cut[0][0] - cut[1][0]) <= np.linalg.norm(free[0] - free[1])


def test_rounding_is_unbiased_and_fine() -> None:
    total = np.full(400, 0.3)
    found = [LATTICE.real(LATTICE.privatise(total, deviation=0, random=os.urandom)[0]) for _ in range(50)]
    assert np.abs(np.array(found) - 0.3).max() < LATTICE.step
    # The mean of 20,000 roundings errs by step / 2 / sqrt(20,000) at most; ten times that never happens.
    assert abs(np.mean(found) - 0.3) < 10 * LATTICE.step / 2 / math.sqrt(20_000)


def test_noise_has_the_deviation_asked_for_and_covers_an_empty_draw() -> None:
    wide = Lattice(clip=1.0, values=100_000)
    deviation = wide.deviation(1.5)
    units, clipped = wide.privatise(np.zeros(100_000), deviation=deviation, random=os.urandom)
    assert clipped == 0
    # The variance of 100,000 Gaussians has a relative deviation of 0.0045; seven of them are 1e-12.
    assert np.std(wide.real(units)) == pytest.approx(1.5 * wide.sensitivity, rel=0.0157)
    again, _ = wide.privatise(np.zeros(100_000), deviation=deviation, random=os.urandom)
    assert np.count_nonzero(units == again) < 1000


def test_what_is_no_sum_is_refused() -> None:
    LATTICE.privatise(np.zeros(400), deviation=0, random=os.urandom)  # the positive control
    for wrong in (np.zeros(399), np.full(400, np.nan), np.full(400, np.inf)):
        with pytest.raises(ValueError, match=r"400 values|is finite"):
            LATTICE.privatise(wrong, deviation=0, random=os.urandom)


def test_fineness_is_what_the_proof_takes() -> None:
    assert FINENESS == FLOAT_SLACK == 2.0**-10
