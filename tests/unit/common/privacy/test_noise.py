"""The noise's distribution, its exactness against 400 digits of the same bits, and where its bits come from."""

from __future__ import annotations

import decimal
import itertools
import os
import random
from decimal import Decimal
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
from wardround.common.privacy.noise import BLOCK, LARGEST_MEAN, RoundedGaussian

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


def stream_words(count: int, at: int = 0) -> np.ndarray:
    octets = bytearray(4 * count)
    Keystream(KEY, at).into(octets)
    return np.frombuffer(octets, dtype="<u4")


def slowly(bits: tuple[int, int], known: int, deviation: float, mean: float, *, sine: bool) -> int:
    """One value by mpmath, from the first ``known`` bits of its uniforms and the middle of what they leave open."""
    with mpmath.workdps(400):
        u, v = ((mpmath.mpf(each) + mpmath.mpf(1) / 2) / mpmath.mpf(2) ** known for each in bits)
        turn = mpmath.sin if sine else mpmath.cos
        value = mpmath.mpf(deviation) * mpmath.sqrt(-2 * mpmath.log(u)) * turn(2 * mpmath.pi * v) + mpmath.mpf(mean)
        return int(mpmath.floor(value + mpmath.mpf(1) / 2))


def all_corners(bits: tuple[int, int], known: int, deviation: float, mean: float, *, sine: bool) -> set[int]:
    """What the bits that are not known may make of a value."""
    open_bits = 512 - known
    ends = (0, (1 << open_bits) - 1)
    return {
        slowly(((bits[0] << open_bits) + first, (bits[1] << open_bits) + second), 512, deviation, mean, sine=sine)
        for first, second in itertools.product(ends, ends)
    }


def compare(means: np.ndarray, deviation: float) -> tuple[int, int]:
    """Hold one block's values against 400 digits of the same bits; how many pairs asked for more, of how many."""
    half = -(-means.size // 2)
    source = RoundedGaussian(deviation, lambda _: KEY)
    found = source.next_block(means.astype(np.float32), np.abs(means).max()).astype(np.float64)
    places = source.undecided()
    found[places] = source.decide(means[places])
    words, asked = stream_words(2 * half).reshape(2, half), np.unique(places % half)
    more = stream_words(2 * asked.size, 1 << 64).reshape(2, asked.size)
    for place, value in enumerate(found.tolist()):
        pair, sine, mean = place % half, place >= half, float(means[place])
        first = int(words[0, pair]), int(words[1, pair])
        rank = int(np.searchsorted(asked, pair))
        if rank < asked.size and asked[rank] == pair:
            rest = noise.rest_of(KEY, rank)
            bits = [(((a << 32) + int(more[row, rank])) << 448) + rest[row] for row, a in enumerate(first)]
            assert int(value) == slowly((bits[0], bits[1]), 512, deviation, mean, sine=sine)
        else:
            assert all_corners(first, 32, deviation, mean, sine=sine) == {int(value)}
    return asked.size, half


MEANS = {
    "none": np.zeros,
    "fractions": lambda size: np.random.default_rng(1).normal(size=size) * 30,
    "halves": lambda size: np.arange(size) - 7.5,
    "wide": lambda size: np.random.default_rng(2).uniform(-1, 1, size) * 2.0**18,
    "large": lambda size: np.random.default_rng(2).uniform(-1, 1, size) * LARGEST_MEAN,
    "tiny": lambda size: np.resize([1e-300, -1e-300, -0.0, 5e-324, 0.5 - 2.0**-54], size),
}


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("deviation", [16.0, 64.0, 2.0**11 / 3, 2.0**16])
def test_fast_and_exact_agree_on_every_draw(deviation: float, means: str) -> None:
    asked, pairs = compare(MEANS[means](401), deviation)
    assert (asked == pairs) == (deviation == 2.0**16 or means == "large")
    assert means == "wide" or deviation == 2.0**16 or means == "large" or asked < 0.2 * pairs


def test_a_real_next_to_a_boundary_is_decided_by_as_many_bits_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means are put where the sum is so near a half-integer that a float cannot tell on which side it is."""
    pairs, deviation = 40, 1000.0
    words, more = (stream_words(2 * pairs, at).reshape(2, pairs).astype(np.uint64) for at in (0, 1 << 64))
    points = noise.normals_of_64((words << np.uint64(32)) | more, deviation)[0].reshape(-1)
    refined = []
    slow = noise.refine
    monkeypatch.setattr(noise, "refine", lambda *bits: refined.append(1) or slow(*bits))
    for distance, least, most in ((2.0**-22, 0, 0), (2.0**-60, pairs, pairs), (0.0, pairs, pairs)):
        refined.clear()
        asked, _ = compare(np.floor(points) + 0.5 - points + distance, deviation)
        assert asked == pairs
        assert least <= len(refined) <= most


EDGES = (0, 1, 2, 3, 1 << 10, (1 << 20) - 1, 1 << 20, 1 << 21, 1 << 30, (1 << 30) + 1, (1 << 31) - 1, 1 << 31)
TOP = ((1 << 32) - 1, (1 << 32) - 2, (1 << 32) - (1 << 21), (1 << 32) - (1 << 22), (1 << 32) - (1 << 23), 3 << 30)


def test_what_float32_is_sure_of_is_so_for_every_corner_of_the_uniforms() -> None:
    deviation = 64.0
    words = np.array(list(itertools.product(EDGES + TOP, EDGES + TOP)), dtype=np.uint32).T.copy()
    values, (radii, angles) = np.empty(words.shape, np.float32), np.empty(words.shape, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise.normals_of_32(words, deviation, radii, angles, values)
        nearest = np.rint(values)
        sure = noise._sure_of_32(values - nearest, radii, deviation, 0.0)
    assert 0.2 < sure.mean() < 0.8
    for pair in np.flatnonzero(sure).tolist():
        bits = int(words[0, pair]), int(words[1, pair])
        for row in (0, 1):
            assert all_corners(bits, 32, deviation, 0.0, sine=bool(row)) == {int(nearest[row, pair])}


def test_what_float64_is_sure_of_is_so_for_every_corner_of_the_uniforms() -> None:
    deviation = 64.0
    wide = [word << 32 for word in EDGES + TOP] + [
        1,
        (1 << 20) + 7,
        (1 << 22) - 1,
        (1 << 64) - 1,
        (1 << 64) - (1 << 34),
    ]
    words = np.array(list(itertools.product(wide, wide)), dtype=np.uint64).T.copy()
    found, sure = noise._from_64(words, np.zeros(words.shape), deviation)
    assert 0.5 < sure.mean() < 0.95
    for pair in np.flatnonzero(sure).tolist():
        bits = int(words[0, pair]), int(words[1, pair])
        for row in (0, 1):
            assert all_corners(bits, 64, deviation, 0.0, sine=bool(row)) == {int(found[row, pair])}
    for pair in np.flatnonzero(~sure)[::7].tolist():  # and the slow way is the oracle's
        bits, rest = (int(words[0, pair]), int(words[1, pair])), (pair, (1 << 448) - 1 - pair)
        whole = (bits[0] << 448) + rest[0], (bits[1] << 448) + rest[1]
        expected = tuple(slowly(whole, 512, deviation, 0.25, sine=sine) for sine in (False, True))
        assert noise.refine(bits, rest, deviation, (0.25, 0.25)) == expected


def test_more_pairs_than_a_block_has_are_decided() -> None:
    size = 3 * BLOCK + 7
    means = np.random.default_rng(4).uniform(-1, 1, size) * 2.0**40
    asked = RoundedGaussian(64.0, lambda _: KEY)
    found = asked.around(means)
    assert np.unique(asked.undecided()).size == size
    assert np.abs(found - means).max() < 14 * 64
    last = asked._left_open()[1].shape[1] - 1  # the pair of the array's last but 4th value, and of a value that is none
    words, more = stream_words(2 * 4, 4 * 3 * BLOCK).reshape(2, 4), stream_words(2 * (last % BLOCK + 1), _more_at(last))
    bits = [((int(words[row, 3]) << 32) + int(more.reshape(2, -1)[row, -1]) << 448) for row in (0, 1)]
    rest = noise.rest_of(KEY, last)
    whole = bits[0] + rest[0], bits[1] + rest[1]
    assert found[size - 4] == slowly(whole, 512, 64.0, float(means[size - 4]), sine=False)


def _more_at(pair: int) -> int:
    """Where the second words of the block of 32,768 pairs begin in which a pair is."""
    return (1 << 64) + 8 * (pair // BLOCK) * BLOCK


def test_the_circle_and_the_angle_have_all_their_digits() -> None:
    with mpmath.workdps(230), decimal.localcontext(noise._DIGITS):
        assert abs(mpmath.mpf(str(noise._pi())) - mpmath.pi) < mpmath.mpf(10) ** -198
        for angle in ("0", "1e-150", "0.5", "1.5707963267948966", "3.1415926535", "5.9", "6.283185307179586"):
            cosine, sine = noise._cosine_and_sine(Decimal(angle))
            assert abs(mpmath.mpf(str(cosine)) - mpmath.cos(mpmath.mpf(angle))) < mpmath.mpf(10) ** -194
            assert abs(mpmath.mpf(str(sine)) - mpmath.sin(mpmath.mpf(angle))) < mpmath.mpf(10) ** -194


def test_the_means_are_what_the_noise_is_around() -> None:
    """Values and their means move together, and what is left over is the same noise."""
    means = np.random.default_rng(3).normal(size=50_001) * 1e6
    alone, moved = (RoundedGaussian(1000.0, lambda _: KEY).around(y) for y in (np.zeros(50_001), means))
    assert np.abs(moved - alone - means).max() < 1
    assert np.abs(moved - alone - means).max() > 0.9


def test_blocks_of_an_array_have_their_own_noise() -> None:
    source = RoundedGaussian(1000.0, os.urandom)
    one, other = (source.next_block(np.zeros(5000, np.float32), 0.0).copy() for _ in range(2))
    assert np.mean(one == other) < 0.01


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**51 * 1.001])
def test_values_that_cannot_be_rounded_are_refused(value: float) -> None:
    source = RoundedGaussian(16.0, os.urandom)
    assert source.around(np.array([LARGEST_MEAN, -LARGEST_MEAN])).shape == (2,)
    with pytest.raises(ValueError, match="finite"):
        source.around(np.array([1.0, value]))


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        RoundedGaussian(16.0, os.urandom).around(np.zeros(3, dtype=np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("deviation", [16.0, 64.0])
@pytest.mark.parametrize("largest", [0.0, 2.0**10])
def test_the_bound_of_float32_holds_and_is_needed(deviation: float, largest: float) -> None:
    """Values are off by a part of the bound, never by half of it; the oracle is float64, which errs 2^29 times less."""
    pairs = 1 << 19
    words = stream_words(2 * pairs).reshape(2, pairs)
    values, (radii, angles) = np.empty(words.shape, np.float32), np.empty(words.shape, np.float32)
    means = np.random.default_rng(1).uniform(-largest, largest, words.shape)
    noise.normals_of_32(words, deviation, radii, angles, values)
    values += means.astype(np.float32)
    rest = np.uint64(1 << 31)
    exact, _, logarithms = noise.normals_of_64((words.astype(np.uint64) << np.uint64(32)) | rest, deviation)
    within = (logarithms > 2.0**-10) & (logarithms < 8.3)
    errors = np.abs(values - (exact + means))[:, within]
    assert 0.02 < errors.max() / noise._error_of_32(deviation, largest) < 0.5


@pytest.mark.parametrize("largest", [0.0, 2.0**30])
def test_the_bound_of_float64_holds_and_is_needed(largest: float) -> None:
    pairs, deviation = 3000, 64.0
    words = (stream_words(2 * pairs).astype(np.uint64) << np.uint64(32)).reshape(2, pairs)
    words[0, : pairs // 2] |= np.uint64(0xFFFFFF << 40)  # U so near 1 that its logarithm loses digits
    real, radii, logarithms = noise.normals_of_64(words, deviation)
    means = np.random.default_rng(1).uniform(-largest, largest, real.shape)
    bound = noise._error_of_64(deviation, radii, logarithms, np.abs(means))
    real += means
    shares = []
    for pair, row in itertools.product(range(pairs), (0, 1)):
        with mpmath.workdps(60):
            u, v = ((mpmath.mpf(int(words[at, pair])) + 0.5) / mpmath.mpf(2) ** 64 for at in (0, 1))
            turn = mpmath.sin if row else mpmath.cos
            exact = mpmath.mpf(deviation) * mpmath.sqrt(-2 * mpmath.log(u)) * turn(2 * mpmath.pi * v)
            exact += mpmath.mpf(float(means[row, pair]))
            shares.append(float(abs(exact - mpmath.mpf(float(real[row, pair]))) / mpmath.mpf(float(bound[row, pair]))))
    assert 0.05 < max(shares) < 0.5


def test_the_libraries_functions_are_as_good_as_the_bounds_take_them() -> None:
    """4 units in the last place: of the whole range in single precision, and of a million drawn values in double."""
    uniforms = (np.arange(1 << 12, 1 << 24, 3, dtype=np.float32) * np.float32(2.0**-24)).astype(np.float32)
    angles = np.linspace(-np.pi, np.pi, 1 << 22).astype(np.float32)
    for function, arguments in ((np.log, uniforms), (np.cos, angles), (np.sin, angles)):
        exact = function(arguments.astype(np.float64))
        unit = np.spacing(np.abs(exact).astype(np.float32))
        if function is not np.log:
            unit = np.maximum(unit, 2.0**-24)  # near its zeros a cosine only has to be good to that
        assert (np.abs(function(arguments) - exact) / unit).max() < 4


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


@pytest.mark.parametrize("deviation", [64.0, 2.0**16])
def test_large_deviations_are_normal(deviation: float) -> None:
    values = rounded_gaussian(300_000, deviation, keys("normal")) / deviation
    assert kstest(values, "norm").pvalue > 1e-6
    assert kstest(values * 1.02, "norm").pvalue < 1e-6


def test_neighbours_in_the_result_are_independent() -> None:
    values = rounded_gaussian(400_001, 1000.0, keys("lags")) / 1000.0
    for lag in (1, 2, BLOCK // 2, BLOCK):
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
        seen.add(rounded_gaussian(16, 2.0**16, os.urandom).tobytes())
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


@pytest.mark.parametrize("size", [0, 1, 2, 17, BLOCK - 1, BLOCK, 50_001])
@pytest.mark.parametrize("distance", [30_000, 1 << 34])
def test_every_size_is_filled(size: int, distance: int) -> None:
    """Every value is near its own mean and on both sides of it; of the far ones float32 decides none."""
    means = np.arange(size, dtype=np.float64) * distance
    values = RoundedGaussian(64.0, keys("sizes")).around(means)
    assert values.shape == (size,)
    assert values.dtype == np.int64
    assert (np.abs(values - means) < 14 * 64).all()
    assert size < 17 or 0.1 < np.mean(values > means) < 0.9


@pytest.mark.parametrize("deviation", [15.999, 0.0, -16.0, 2.0**16 * 1.0001, float("nan"), float("inf")])
def test_deviations_out_of_range_are_refused(deviation: float) -> None:
    rounded_gaussian(1, 16.0, os.urandom)
    with pytest.raises(ValueError, match="deviation"):
        rounded_gaussian(1, deviation, os.urandom)
