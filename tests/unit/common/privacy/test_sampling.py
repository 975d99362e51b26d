"""Poisson sampling: exact probabilities, from the bits that decide."""

from __future__ import annotations

import os
from fractions import Fraction
from hashlib import sha256

import pytest
from scipy.stats import binom

from wardround.common.crypto.keystream import Keystream
from wardround.common.privacy.noise import poisson_sample

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
