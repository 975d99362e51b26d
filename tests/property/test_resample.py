"""Resampling keeps what must be kept, for every size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wardround.client.data.prepare import geometry_of, restore
from wardround.client.data.resample import resize, resize_mask, weights
from wardround.common.study import Input

LENGTH = st.integers(1, 40)


@given(LENGTH, LENGTH)
def test_rows_of_the_matrix_are_means(source: int, target: int) -> None:
    matrix = weights(source, target)
    assert matrix.shape == (target, source)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-6)


@given(LENGTH, LENGTH, LENGTH, LENGTH, st.integers(0, 99))
def test_values_stay_in_range_and_constants_stay(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    resized = resize(image, (height, width))
    assert resized.shape == (height, width)
    assert image.min() - 1e-5 <= resized.min() <= resized.max() <= image.max() + 1e-5
    np.testing.assert_allclose(resize(np.full_like(image, 3), (height, width)), 3, rtol=1e-5)


@given(LENGTH, LENGTH, LENGTH, st.integers(0, 99))
def test_masks_invent_no_class(length: int, height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).choice(np.array([0, 2], np.uint8), (length, length))
    assert set(np.unique(resize_mask(mask, (height, width), 3))) <= set(np.unique(mask))


@given(st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 16)), st.integers(0, 99))
def test_padding_is_undone_exactly(native: tuple[int, int, int], seed: int) -> None:
    geometry = geometry_of(native, None, Input(size=(16, 16, 16), fit="pad"))
    padded = np.random.default_rng(seed).random((2, 16, 16, 16)).astype(np.float32)
    assert geometry.offsets is not None
    window = tuple(slice(offset, offset + length) for offset, length in zip(geometry.offsets, native, strict=True))
    np.testing.assert_array_equal(restore(padded, geometry), padded[(slice(None), *window)])
    slack = [(16 - length - offset) - offset for offset, length in zip(geometry.offsets, native, strict=True)]
    assert set(slack) <= {0, 1}
