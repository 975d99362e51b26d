"""Masks that several threads take off a sum are those that one would."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import pytest

from wardround.common.secagg.masks import add_masks
from wardround.server.private.unmask import on_threads

SIGNS: tuple[Literal[1, -1], ...] = (1, -1, -1)


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize(("size", "threads"), [(1, 1), (999, 4), (200_000, 3)])
def test_threads_take_off_the_same_masks(dtype: str, size: int, threads: int) -> None:
    seeds = [(os.urandom(32), sign) for sign in SIGNS]
    found, expected = (np.arange(size).astype(dtype) for _ in range(2))
    on_threads(threads)(found, seeds)
    add_masks(expected, seeds)
    np.testing.assert_array_equal(found, expected)


def test_a_mistake_in_a_thread_is_raised() -> None:
    with pytest.raises(ValueError, match="5 bytes"):
        on_threads(2)(np.zeros(100, dtype="<u2"), [(b"short", 1)])
