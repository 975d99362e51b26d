"""Poisson sampling and stochastic rounding: exact probabilities, from the bits that decide."""

from __future__ import annotations

import os
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from scipy.stats import binom

from wardround.common.crypto.keystream import Keystream
from wardround.common.privacy.noise import poisson_sample, stochastic_round

KEY = sha256(b"sampling").digest()


def words(count: int) -> list[int]:
    octets = bytearray(8 * count)
    Keystream(KEY).into(octets)
    return [int.from_bytes(octets[8 * i : 8 * i + 8], "little") for i in range(count)]


@pytest.mark.parametrize("rate", [1e-300, 2.0**-64, 1e-4, 0.1, 0.5, 1 - 2.0**-53])
def test_a_patient_is_drawn_when_the_word_is_below_the_rate(rate: float) -> None:
    threshold = int(Fraction(rate) * 2**64)
    assert poisson_sample(5000, rate, lambda _: KEY).tolist() == [word < threshold for word in words(5000)]


def test_rate_one_draws_everybody() -> None:
    assert poisson_sample(1000, 1.0, os.urandom).all()


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
def test_the_number_drawn_is_binomial(rate: float) -> None:
    drawn = int(poisson_sample(200_000, rate, lambda _: KEY).sum())
    assert 1e-6 < binom.cdf(drawn, 200_000, rate) < 1 - 1e-6


def test_two_steps_draw_different_patients() -> None:
    first, second = (poisson_sample(1000, 0.5, os.urandom) for _ in range(2))
    assert 350 < int((first != second).sum()) < 650


@pytest.mark.parametrize(("count", "rate"), [(-1, 0.5), (1, 0.0), (1, 1.1), (1, float("nan"))])
def test_samples_that_make_no_sense_are_refused(count: int, rate: float) -> None:
    assert poisson_sample(0, 0.5, os.urandom).shape == (0,)
    with pytest.raises(ValueError, match="sample"):
        poisson_sample(count, rate, os.urandom)


def test_a_rounding_is_the_ceiling_below_the_dither() -> None:
    values = np.random.default_rng(1).normal(size=4000) * 1000
    dither = [Fraction(word >> 11, 2**53) for word in words(4000)]
    expected = [
        -((dithered := r - Fraction(v)).numerator // dithered.denominator)
        for v, r in zip(values.tolist(), dither, strict=True)
    ]
    assert stochastic_round(values, lambda _: KEY).tolist() == expected


def test_a_rounding_is_unbiased_and_moves_by_less_than_one() -> None:
    values = np.full(1_000_000, -7.3)
    rounded = stochastic_round(values, lambda _: KEY)
    assert set(rounded.tolist()) == {-8, -7}
    assert abs(rounded.mean() + 7.3) < 6 * 0.5 / 1000


def test_whole_numbers_stay_and_tiny_ones_hardly_move() -> None:
    whole = np.array([0.0, -0.0, 5.0, -(2.0**53), 2.0**62, -(2.0**62)])
    assert stochastic_round(whole, os.urandom).tolist() == [0, 0, 5, -(2**53), 2**62, -(2**62)]
    tiny = np.array([1e-300, -1e-300] * 5000)
    assert not stochastic_round(tiny, lambda _: KEY).any()


def test_the_same_dither_keeps_neighbours_together() -> None:
    """What the sensitivity of the lattice rests on: less than one unit more in each coordinate."""
    generator = np.random.default_rng(2)
    values = generator.normal(size=100_000) * 100
    others = values + generator.normal(size=100_000) * generator.choice([1e-9, 0.3, 1.0, 40.0], size=100_000)
    apart = np.abs(stochastic_round(values, lambda _: KEY) - stochastic_round(others, lambda _: KEY))
    assert np.all(apart < np.abs(values - others) + 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**62 * 1.001])
def test_what_cannot_be_rounded_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        stochastic_round(np.array([1.0, value]), os.urandom)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        stochastic_round(np.zeros(3, dtype=np.float32), os.urandom)  # type: ignore[arg-type]
