"""The noise's distribution, its exactness against 400 digits of the same bits, and where its bits come from."""

from __future__ import annotations

import itertools
import os
import random
from hashlib import sha256
from typing import TYPE_CHECKING

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import chi2, kstest

from wardround.common.crypto.keystream import Keystream
from wardround.common.privacy import noise
from wardround.common.privacy.noise import LARGEST_MEAN, RoundedGaussian

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.crypto.randomness import RandomSource

KEY = bytes(range(32))


def keys(label: str) -> Callable[[int], bytes]:
    """Reproducible keys, all different: draws of a test must not make it fail once in a thousand runs."""
    counter = itertools.count()
    return lambda size: sha256(f"{label} {next(counter)}".encode()).digest()[:size]


def rounded_gaussian(size: int, deviation: float, source: RandomSource) -> np.ndarray:
    """Noise alone."""
    return RoundedGaussian(deviation, source).around(np.zeros(size))


def stream_words(key: bytes, count: int) -> np.ndarray:
    octets = bytearray(8 * count)
    Keystream(key).into(octets)
    return np.frombuffer(octets, dtype="<i8")


def slowly(
    words: tuple[int, int], further: tuple[int, int], deviation: float, means: tuple[float, float]
) -> tuple[int, int] | None:
    """One pair of the polar method by mpmath, from its 512-bit uniforms."""
    with mpmath.workdps(400):
        u, v = (
            (mpmath.mpf(word) * mpmath.mpf(2) ** 448 + more + mpmath.mpf(1) / 2) / mpmath.mpf(2) ** 511
            for word, more in zip(words, further, strict=True)
        )
        square = u**2 + v**2
        if square >= 1:
            return None
        factor = mpmath.mpf(deviation) * mpmath.sqrt(-2 * mpmath.log(square) / square)
        return tuple(  # type: ignore[return-value]
            int(mpmath.floor(each * factor + mean + mpmath.mpf(1) / 2))
            for each, mean in zip((u, v), means, strict=True)
        )


def exactly(words: np.ndarray, means: np.ndarray, deviation: float, first: int) -> list[int | None]:
    """What :func:`noise._block` has to give: the values of all U, then those of all V; None: dropped after all."""
    square = [int(a) ** 2 + int(b) ** 2 for a, b in words.T]
    chosen = [pair for pair, each in enumerate(square) if each < (1 + 2.0**-20) * 2**126]
    of_u, of_v = means[: len(chosen)].tolist(), means[len(chosen) :].tolist()
    found = [
        slowly(
            (int(words[0, pair]), int(words[1, pair])),
            noise.further_bits(KEY, first + pair),
            deviation,
            (of_u[at], of_v[at]),
        )
        or (None, None)
        for at, pair in enumerate(chosen)
    ]
    return [a for a, _ in found] + [b for _, b in found]


def agrees(words: np.ndarray, means: np.ndarray, deviation: float, first: int) -> int:
    """Assert that the fast way gives what the slow one does; how many pairs stay."""
    expected, pairs = exactly(words, means, deviation, first), noise._Pairs(words, KEY, first)
    found, dropped = noise._block(pairs, means[: len(expected)], deviation, np.abs(means).max())
    assert sorted(dropped) == [place for place, value in enumerate(expected) if value is None]
    kept = [place for place, value in enumerate(expected) if value is not None]
    assert [int(found[place]) for place in kept] == [expected[place] for place in kept]
    return len(kept) // 2


MEANS = {
    "none": np.zeros,
    "fractions": lambda size: np.random.default_rng(1).normal(size=size) * 30,
    "halves": lambda size: np.arange(size) - 7.5,
    "large": lambda size: np.random.default_rng(2).uniform(-1, 1, size) * LARGEST_MEAN,
    "tiny": lambda size: np.resize([1e-300, -1e-300, -0.0, 5e-324, 0.5 - 2.0**-54], size),
}


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("deviation", [16.0, 2.0**27 / 3, 2.0**44])
def test_fast_and_exact_agree_on_every_draw(deviation: float, means: str) -> None:
    pairs = 600
    words = stream_words(KEY, 2 * pairs).reshape(2, pairs)
    kept = agrees(words, MEANS[means](2 * pairs), deviation, 0)
    assert 0.7 < kept / pairs < 0.87


def test_pairs_that_floats_cannot_decide_are_refined() -> None:
    """S on either side of 1 by 2^-66, S of 2^-120, uniforms of a few bits, and ordinary pairs as the control."""
    half = 2**63
    on_circle = [(int(0.6 * half), int(0.8 * half)), (half - 1, 2**30), (half - 1, 0), (-half, 0), (0, -half)]
    near_zero = [(8, -3), (0, 0), (-1, 1), (2**43, 2**44)]
    plain = [(half // 3, half // 2), (-half // 2, 5)]
    words = np.array([*on_circle, *near_zero, *plain], dtype="<i8").T
    for deviation in (16.0, 2.0**30, 2.0**44):
        for means in MEANS.values():
            assert agrees(words, means(2 * words.shape[1]), deviation, 7) < words.shape[1], "some are dropped"


def test_a_real_next_to_a_boundary_is_decided_by_all_of_its_bits() -> None:
    """Means are put where the sum is within 2^-60 of a half-integer: the float cannot tell which side it is on."""
    pairs, deviation = 200, 1000.0
    words = stream_words(KEY, 2 * pairs).reshape(2, pairs)
    means = np.zeros(2 * pairs)
    for distance in (2.0**-45, 2.0**-50, 2.0**-60, 0.0):
        found, _ = noise._block(noise._Pairs(words, KEY, 0), means, deviation, 0.0)
        points = _reals(words, deviation)
        moved = np.floor(points) + 0.5 - points + distance
        assert agrees(words, np.resize(moved, 2 * pairs), deviation, 0) == found.size // 2


def _reals(words: np.ndarray, deviation: float) -> np.ndarray:
    """``d U g`` and ``d V g`` of the pairs that stay, by float64."""
    _, points, squares = noise._candidates(words, words.shape[1])
    return (points * noise._factors(squares, deviation * 2.0**-63)).reshape(-1)


def test_the_means_are_what_the_noise_is_around() -> None:
    """Values and their means move together, and what is left over is the same noise."""
    means = np.random.default_rng(3).normal(size=50_001) * 1e6
    alone, moved = (RoundedGaussian(1000.0, lambda _: KEY).around(y) for y in (np.zeros(50_001), means))
    assert np.abs(moved - alone - means).max() < 1
    assert np.abs(moved - alone - means).max() > 0.9


def test_blocks_of_an_array_have_their_own_noise() -> None:
    source = RoundedGaussian(2.0**30, os.urandom)
    values = np.concatenate([source.around(np.zeros(size)) for size in (1, 5000, 5000, 3)])
    assert np.unique(values).size == values.size


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**51 * 1.001])
def test_values_that_cannot_be_rounded_are_refused(value: float) -> None:
    source = RoundedGaussian(16.0, os.urandom)
    assert source.around(np.array([LARGEST_MEAN, -LARGEST_MEAN])).shape == (2,)
    with pytest.raises(ValueError, match="finite"):
        source.around(np.array([1.0, value]))


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        RoundedGaussian(16.0, os.urandom).around(np.zeros(3, dtype=np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("largest", [0.0, 2.0**45])
def test_the_bound_holds_and_is_needed(largest: float) -> None:
    """float64's values are off by up to a fair part of the bound, never by a quarter."""
    pairs, deviation = 4000, 2.0**40
    words = stream_words(sha256(KEY).digest(), 2 * pairs).reshape(2, pairs)
    u, v = words * 2.0**-63
    square = u * u + v * v
    kept = np.flatnonzero((square > 2.0**-20) & (square < 1 - 2.0**-20))
    means = np.random.default_rng(1).uniform(-largest, largest, kept.size)
    factor = noise._factors(square[kept], deviation)
    real = u[kept] * factor
    bound = noise._error(np.abs(real), factor, -np.log(square[kept]), np.abs(means))
    real += means
    shares = []
    for at, pair in enumerate(kept.tolist()):
        with mpmath.workdps(60):
            exact_u, exact_v = ((mpmath.mpf(int(words[row, pair])) + 0.5) / mpmath.mpf(2) ** 63 for row in (0, 1))
            s = exact_u**2 + exact_v**2
            exact = mpmath.mpf(deviation) * exact_u * mpmath.sqrt(-2 * mpmath.log(s) / s) + mpmath.mpf(float(means[at]))
            shares.append(float(abs(exact - mpmath.mpf(float(real[at]))) / mpmath.mpf(float(bound[at]))))
    assert 0.01 < max(shares) < 0.25


@pytest.mark.parametrize("least", [2.0**-20, 2.0**-10, 1.0])
def test_the_bound_of_a_block_is_above_that_of_each_pair(least: float) -> None:
    deviation, mean = 2.0**20, 2.0**25
    squares = np.concatenate([np.geomspace(2.0**-20, 0.5, 1000), 1 - np.geomspace(0.5, 2.0**-20, 1000)])
    factors, logarithms = noise._factors(squares, deviation), -np.log(squares)
    errors = noise._error(np.sqrt(squares) * factors, factors, logarithms, np.full(squares.size, mean))
    bound, within = noise._common_error(deviation, mean, least), logarithms >= least
    assert 0.3 * bound < errors[within].max() < bound
    if least > 2.0**-20:
        assert errors[~within].max() > bound  # so it is for these that it was computed


def test_a_million_draws_have_the_cells_probabilities() -> None:
    deviation, size = 16.0, 10**6
    values = rounded_gaussian(size, deviation, keys("cells"))
    edges = np.arange(-60, 62) - 0.5
    cells = np.diff(np.concatenate([[0.0], ndtr(edges / deviation), [1.0]]))
    seen = np.diff(np.concatenate([[0], np.searchsorted(np.sort(values), edges), [size]]))
    statistic = float(np.sum((seen - size * cells) ** 2 / (size * cells)))
    assert statistic < chi2.isf(1e-6, cells.size - 1)
    moved = np.diff(np.concatenate([[0], np.searchsorted(np.sort(values + 1), edges), [size]]))
    assert np.sum((moved - size * cells) ** 2 / (size * cells)) > chi2.isf(1e-6, cells.size - 1)


@pytest.mark.parametrize("deviation", [2.0**20, 2.0**33])
def test_large_deviations_are_normal(deviation: float) -> None:
    values = rounded_gaussian(300_000, deviation, keys("normal")) / deviation
    assert kstest(values, "norm").pvalue > 1e-6
    assert kstest(values * 1.02, "norm").pvalue < 1e-6


def test_neighbours_in_the_result_are_independent() -> None:
    values = rounded_gaussian(400_001, 1000.0, keys("lags")) / 1000.0
    for lag in (1, 2, 8192, 12_868):
        for power in (1, 2):
            first, second = values[:-lag] ** power, values[lag:] ** power
            assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(first.size)


def test_a_sum_of_shares_has_the_convolved_cells_probabilities() -> None:
    """Five sites' shares of a noise of deviation 60; the oracle convolves the exact cells of one share."""
    sites, size, deviation = 5, 400_000, 60.0 / np.sqrt(5)
    total = sum(rounded_gaussian(size, deviation, keys(f"site {site}")) for site in range(sites))
    reach = 400
    one = np.diff(ndtr((np.arange(-reach, reach + 2) - 0.5) / deviation))
    cells = one
    for _ in range(sites - 1):
        cells = np.convolve(cells, one)
    middle = sites * reach
    cells = cells[middle - 200 : middle + 201].reshape(-1)
    seen = np.bincount(np.clip(total + 200, 0, 400), minlength=401)
    cells[0] = cells[-1] = (1 - cells[1:-1].sum()) / 2
    assert np.sum((seen - size * cells) ** 2 / (size * cells)) < chi2.isf(1e-6, cells.size - 1)


def test_seeding_the_libraries_does_not_repeat_the_noise() -> None:
    seen = set()
    for _ in range(1000):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002 - the global generator is what is seeded
        random.seed(1)
        seen.add(rounded_gaussian(8, 2.0**30, os.urandom).tobytes())
    assert len(seen) == 1000


def test_one_fresh_key_is_drawn_for_each_call() -> None:
    drawn = []

    def record(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    first = rounded_gaussian(100, 100.0, record)
    second = rounded_gaussian(100, 100.0, record)
    assert [len(key) for key in drawn] == [32, 32]
    assert drawn[0] != drawn[1]
    assert first.tolist() != second.tolist()
    assert rounded_gaussian(100, 100.0, lambda _: drawn[0]).tolist() == first.tolist()


def test_a_short_key_is_never_used() -> None:
    with pytest.raises(RuntimeError, match="random source"):
        rounded_gaussian(1, 100.0, lambda size: os.urandom(size - 1))


@pytest.mark.parametrize("size", [0, 1, 2, 17, 16_384, 50_001])
def test_every_size_is_filled(size: int) -> None:
    values = rounded_gaussian(size, 2.0**44, keys("sizes"))
    assert values.shape == (size,)
    assert values.dtype == np.int64
    assert np.count_nonzero(values) == size  # equal values, or a zero, have a probability of 2e-5
    assert np.unique(values).size == size


@pytest.mark.parametrize("deviation", [15.999, 0.0, -16.0, 2.0**44 * 1.0001, float("nan"), float("inf")])
def test_deviations_out_of_range_are_refused(deviation: float) -> None:
    rounded_gaussian(1, 16.0, os.urandom)
    with pytest.raises(ValueError, match="deviation"):
        rounded_gaussian(1, deviation, os.urandom)
