"""The mask that threads sum while a site trains is the one that one thread would have summed."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import pytest

from wardround.client.secagg.masking import MaskSum
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.ring import Ring

SIGNS: tuple[Literal[1, -1], ...] = (1, -1, 1, -1)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize(("size", "threads"), [(1, 1), (1001, 1), (1001, 3), (5, 8), (300_000, 2)])
def test_threads_sum_the_same_mask(bits: Literal[16, 32], size: int, threads: int) -> None:
    seeds = [(os.urandom(32), sign) for sign in SIGNS]
    ring = Ring(bits)
    encoded = np.arange(size).astype(ring.dtype)
    expected = encoded.copy()
    add_masks(expected, seeds)
    with MaskSum(ring, size, seeds, threads=threads) as masks:
        masked = masks.add(encoded)
    np.testing.assert_array_equal(masked, expected)
    np.testing.assert_array_equal(encoded, np.arange(size).astype(ring.dtype))
    assert masked.dtype == ring.dtype


def test_training_that_fails_leaves_no_thread_behind() -> None:
    with pytest.raises(ZeroDivisionError), MaskSum(Ring(16), 100_000, [(bytes(32), 1)], threads=2) as masks:
        _ = 1 / 0
    assert masks._pool._shutdown
    with pytest.raises(RuntimeError):
        masks._pool.submit(print)


def test_a_mistake_in_a_thread_is_raised() -> None:
    with pytest.raises(ValueError, match="5 bytes"), MaskSum(Ring(16), 100, [(b"short", 1)], threads=1) as masks:
        masks.add(np.zeros(100, dtype="<u2"))
