"""The theorem on sums of rounded Gaussians (README.md, section 3), at deviations where its terms can be seen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtr


def cells(deviation: float, reach: int) -> np.ndarray:
    """Probabilities of ``round(N(0, deviation^2))`` from -reach to reach."""
    edges = (np.arange(-reach, reach + 2) - 0.5) / deviation
    lower, upper = np.diff(ndtr(edges)), -np.diff(ndtr(-edges))
    return np.where(edges[:-1] > 0, upper, lower)


def summed(sites: int, deviation: float) -> np.ndarray:
    """Probabilities of the sum of the sites' noise, from the middle outwards."""
    one = total = cells(deviation, math.ceil(12 * deviation))
    for _ in range(sites - 1):
        total = np.convolve(total, one)
    return total


def divergence(noise: np.ndarray, shift: int, epsilon: float) -> float:
    """Delta between the noise and the noise moved by ``shift``."""
    still = np.concatenate([noise, np.zeros(shift)])
    moved = np.concatenate([np.zeros(shift), noise])
    return float(np.maximum(still - math.exp(epsilon) * moved, 0).sum())


def gaussian(deviation: float, shift: int, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8."""
    mu = shift / deviation
    return float(ndtr(-epsilon / mu + mu / 2) - math.exp(epsilon) * ndtr(-epsilon / mu - mu / 2))


@pytest.mark.parametrize("sites", [1, 2, 3, 7])
@pytest.mark.parametrize("deviation", [0.6, 0.8, 1.0, 4.0])
def test_the_sum_is_as_private_as_the_continuous_gaussian(sites: int, deviation: float) -> None:
    noise, whole = summed(sites, deviation), math.sqrt(sites) * deviation
    slack = 0.0 if sites == 1 else sites * math.exp(-9 * deviation**2)
    for shift, epsilon in itertools.product((1, 2, 5), (0.0, 0.3, 1.0, 3.0)):
        found = divergence(noise, shift, epsilon)
        assert found <= gaussian(whole, shift, epsilon) + (1 + math.exp(epsilon)) * slack + 1e-14
        assert found == pytest.approx(divergence(noise[::-1], shift, epsilon))


def test_the_sum_is_not_more_private_than_that() -> None:
    """The control: a tenth more noise than there is would be claimed wrongly."""
    noise = summed(5, 16.0)
    found = divergence(noise, 40, 1.0)
    assert gaussian(math.sqrt(5) * 16.0 * 1.1, 40, 1.0) < 0.9 * found
    assert gaussian(math.sqrt(5) * 16.0, 40, 1.0) == pytest.approx(found, rel=2e-3)


@pytest.mark.parametrize("sites", [2, 3, 4, 5])
@pytest.mark.parametrize("deviation", [0.4, 0.5, 0.7])
def test_the_theta_series_is_bounded(sites: int, deviation: float) -> None:
    """Step 3 of the proof: the sum over the dual of A_(n-1), summed out, against ``theta^n - 1``."""
    reach = range(-7, 8)
    series = 0.0
    for m in itertools.product(reach, repeat=sites - 1):
        square = sum(each * each for each in m) - sum(m) ** 2 / sites
        series += math.exp(-2 * math.pi**2 * deviation**2 * square)
    theta = 1 + 2 * sum(math.exp(-(math.pi**2) * deviation**2 * k * k) for k in range(1, 50))
    assert series - 1 <= theta**sites - 1
    smallest = 2 * sites * math.exp(-2 * math.pi**2 * deviation**2 * (sites - 1) / sites)
    assert series - 1 >= smallest / (2 if sites == 2 else 1)  # for two sites the vectors e_1 and -e_2 are one
