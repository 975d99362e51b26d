"""Masks cancel exactly, ranges equal the whole, every bit of a seed counts, and nothing large is allocated."""

import hashlib
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from Crypto.Cipher import AES  # another implementation than the one under test

from wardround.common.secagg import masks
from wardround.common.secagg.masks import Sign, add_keystream, add_masks, split_ranges
from wardround.common.secagg.ring import Ring, RingVector

RINGS = [Ring(16), Ring(32)]
SIZES = [1, 7, 8, 1000, 262_144, 262_145, 300_003]


def seed_of(name: object) -> bytes:
    return hashlib.sha256(repr(name).encode()).digest()


def vector(ring: Ring, size: int) -> RingVector:
    return np.random.default_rng(size).integers(0, 2**ring.bits, size).astype(ring.dtype)


def oracle(ring: Ring, seed: bytes, size: int) -> RingVector:
    stream = AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(size * ring.bytes))
    return np.frombuffer(stream, dtype=ring.dtype)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("size", SIZES)
def test_a_mask_is_the_keystream_of_its_seed(ring: Ring, size: int) -> None:
    seeds: list[tuple[bytes, Sign]] = [(seed_of("own"), 1), (seed_of("pair"), -1), (seed_of("other"), 1)]
    target = vector(ring, size)
    expected = target.copy()
    for seed, sign in seeds:
        expected = (expected + sign * oracle(ring, seed, size).astype(np.int64)).astype(ring.dtype)
    add_masks(target, seeds)
    assert np.array_equal(target, expected)


@pytest.mark.parametrize("ring", RINGS)
def test_pairwise_masks_of_a_cohort_cancel_exactly_and_hide_until_then(ring: Ring) -> None:
    sites, size = 5, 70_001
    plain = [vector(ring, size + site)[:size] for site in range(sites)]
    total = np.zeros(size, dtype=ring.dtype)
    for site in range(sites):
        sent = plain[site].copy()
        seeds: list[tuple[bytes, Sign]] = [
            (seed_of(sorted((site, peer))), 1 if peer > site else -1) for peer in range(sites) if peer != site
        ]
        add_masks(sent, seeds)
        assert np.mean(sent == plain[site]) < 0.001
        total += sent
    assert np.array_equal(total, np.sum(plain, axis=0, dtype=ring.dtype))


@pytest.mark.parametrize("ring", RINGS)
def test_adding_and_subtracting_one_keystream_leaves_what_was_there(ring: Ring) -> None:
    target = vector(ring, 1001)
    before = target.copy()
    add_keystream(target, seed_of(0), 1)
    assert not np.array_equal(target, before)
    add_keystream(target, seed_of(0), -1)
    assert np.array_equal(target, before)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("size", SIZES)
def test_ranges_on_threads_equal_the_whole(ring: Ring, parts: int, size: int) -> None:
    seeds: list[tuple[bytes, Sign]] = [(seed_of("a"), 1), (seed_of("b"), -1)]
    whole, pieces = vector(ring, size), vector(ring, size)
    add_masks(whole, seeds)
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(add_masks, pieces, seeds, start=start, stop=stop)
            for start, stop in split_ranges(size, parts)
        ]
        for run in runs:
            run.result()
    assert np.array_equal(pieces, whole)


def test_a_range_leaves_the_rest_alone() -> None:
    target = np.zeros(100, dtype=np.uint16)
    add_keystream(target, seed_of(1), 1, start=16, stop=51)
    assert not target[:16].any()
    assert not target[51:].any()
    assert np.array_equal(target[16:51], oracle(Ring(16), seed_of(1), 100)[16:51])


@pytest.mark.parametrize("bit", range(256))
def test_every_bit_of_a_seed_changes_the_stream(bit: int) -> None:
    """A stream of 64 values agrees by chance in 1 of 2^1024 cases; unrelated ones agree in 64 / 65536 values."""
    seed = seed_of("seed")
    changed = (int.from_bytes(seed, "big") ^ 1 << bit).to_bytes(32, "big")
    one, other = np.zeros(64, dtype=np.uint16), np.zeros(64, dtype=np.uint16)
    add_keystream(one, seed, 1)
    add_keystream(other, changed, 1)
    assert np.count_nonzero(one != other) >= 60


def test_nothing_of_the_vectors_size_is_allocated() -> None:
    target = np.zeros(10_000_000, dtype=np.uint16)
    seeds: list[tuple[bytes, Sign]] = [(seed_of(number), 1) for number in range(10)]

    def peak(work: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(target.copy) >= target.nbytes  # the tracer sees numpy's memory
    assert peak(lambda: add_masks(target, seeds)) < target.nbytes / 20


@pytest.mark.parametrize("size", [0, 1, 8, 9, 1000, 10_007])
@pytest.mark.parametrize("parts", [1, 2, 3, 16])
def test_ranges_cover_a_vector_once_and_begin_at_whole_blocks(size: int, parts: int) -> None:
    ranges = split_ranges(size, parts)
    assert [value for start, stop in ranges for value in range(start, stop)] == list(range(size))
    assert all(start % masks.ALIGNMENT == 0 for start, _ in ranges)
    assert len(ranges) <= parts
    lengths = [stop - start for start, stop in ranges]
    if size >= 16 * masks.ALIGNMENT:
        assert max(lengths) - min(lengths) <= 2 * masks.ALIGNMENT


def test_what_is_no_ring_vector_seed_sign_or_range_is_a_bug_and_changes_nothing() -> None:
    target, seed = np.zeros(64, dtype=np.uint16), seed_of(2)
    with pytest.raises(TypeError, match="uint16"):
        add_keystream(np.zeros(64, dtype=np.int16), seed, 1)
    with pytest.raises(ValueError, match="contiguous"):
        add_keystream(target[::2], seed, 1)
    for start, stop in ((4, 64), (-8, 64), (0, 65), (16, 8)):
        with pytest.raises(ValueError, match="range"):
            add_keystream(target, seed, 1, start=start, stop=stop)
    with pytest.raises(ValueError, match="not 0"):
        add_masks(target, [(seed, 1), (seed, 0)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="31 bytes"):
        add_masks(target, [(seed, 1), (seed[:31], 1)])
    for size, parts in ((-1, 1), (10, 0)):
        with pytest.raises(ValueError, match="cut"):
            split_ranges(size, parts)
    assert not target.any()
    add_keystream(target, seed, 1, start=8, stop=64)
    assert target.any()
