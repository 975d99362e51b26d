"""A round's images do not depend on how the rounds before were cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wardround.client.train.order import batches, sample_order


@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 2**63),
    pieces=st.lists(st.integers(0, 60), min_size=1, max_size=6),
)
def test_pieces_join_to_one_stream(count: int, seed: int, pieces: list[int]) -> None:
    indices = np.arange(100, 100 + count)
    starts = np.cumsum([0, *pieces[:-1]]).tolist()
    cut = [sample_order(indices, seed, start, length) for start, length in zip(starts, pieces, strict=True)]
    np.testing.assert_array_equal(np.concatenate(cut), sample_order(indices, seed, 0, sum(pieces)))


@given(count=st.integers(1, 200), size=st.integers(3, 64))
def test_batches_keep_every_image_and_leave_none_alone(count: int, size: int) -> None:
    cut = batches(np.arange(count), size)
    assert np.concatenate(cut).tolist() == list(range(count))
    assert all(2 <= len(batch) <= size for batch in cut) or count == 1
