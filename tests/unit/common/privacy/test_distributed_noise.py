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


def around(means: np.ndarray, deviation: float) -> np.ndarray:
    """Probabilities of the sum over the sites of ``round(y + N(0, deviation^2))``, from -reach to reach."""
    reach = math.ceil(14 * deviation * math.sqrt(means.size)) + 4 * means.size
    edges = np.arange(-reach, reach + 2) - 0.5
    total = np.zeros(2 * reach + 1)
    total[reach] = 1.0
    for mean in means.tolist():
        lower, upper = np.diff(ndtr((edges - mean) / deviation)), -np.diff(ndtr(-(edges - mean) / deviation))
        total = np.convolve(total, np.where(edges[:-1] > mean, upper, lower), mode="same")
    return total


def divergence(noise: np.ndarray, shift: int, epsilon: float) -> float:
    """Delta between the noise and the noise moved by ``shift``."""
    still = np.concatenate([noise, np.zeros(shift)])
    moved = np.concatenate([np.zeros(shift), noise])
    return float(np.maximum(still - math.exp(epsilon) * moved, 0).sum())


def gaussian(deviation: float, shift: float, epsilon: float) -> float:
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


@pytest.mark.parametrize("sites", [1, 2, 3, 7])
@pytest.mark.parametrize("deviation", [0.8, 1.0, 4.0])
def test_sums_off_the_integers_are_as_private(sites: int, deviation: float) -> None:
    """One site's sum moves by a real amount, from anywhere, while the others' lie anywhere between two integers."""
    generator, whole = np.random.default_rng(sites), math.sqrt(sites) * deviation
    slack = 0.0 if sites == 1 else sites * math.exp(-9 * deviation**2)
    for shift, epsilon in itertools.product((0.1, 0.5, 1.0, 2.7), (0.0, 0.3, 1.0, 3.0)):
        means = generator.uniform(-1, 1, sites)
        moved = means + np.eye(sites)[0] * shift
        pair = around(means, deviation), around(moved, deviation)
        for one, other in (pair, pair[::-1]):
            found = float(np.maximum(one - math.exp(epsilon) * other, 0).sum())
            assert found <= gaussian(whole, shift, epsilon) + (1 + math.exp(epsilon)) * slack + 1e-13


def test_rounding_before_the_noise_is_less_private() -> None:
    """The control: 0.51 and 0.49 become neighbours that are 1 apart, fifty times what they were."""
    early, late = (np.round([0.49, 0.51]), np.array([0.49, 0.51]))
    deltas = []
    for low, high in (early, late):
        one, other = around(np.array([high]), 4.0), around(np.array([low]), 4.0)
        deltas.append(float(np.maximum(one - other, 0).sum()))
    assert deltas[1] <= gaussian(4.0, 0.02, 0.0) < 0.03 * deltas[0]


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
