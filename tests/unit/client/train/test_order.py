"""The stream of a site's images: stateless, and every pass a permutation."""

from __future__ import annotations

import numpy as np
import pytest

from wardround.client.train.order import batches, sample_order

INDICES = np.array([3, 5, 8, 13, 21], dtype=np.int64)


def test_every_pass_is_a_permutation_of_its_own() -> None:
    stream = sample_order(INDICES, 7, 0, 50).reshape(10, 5)
    assert all(sorted(row) == sorted(INDICES) for row in stream.tolist())
    assert len({tuple(row) for row in stream.tolist()}) > 5


def test_seed_decides() -> None:
    assert sample_order(INDICES, 1, 0, 20).tolist() == sample_order(INDICES, 1, 0, 20).tolist()
    assert sample_order(INDICES, 1, 0, 20).tolist() != sample_order(INDICES, 2, 0, 20).tolist()


def test_no_samples_is_an_empty_piece() -> None:
    assert sample_order(INDICES, 1, 4, 0).shape == (0,)
    assert batches(sample_order(INDICES, 1, 4, 0), 4) == []


@pytest.mark.parametrize(("indices", "start", "samples"), [(INDICES[:0], 0, 1), (INDICES, -1, 1), (INDICES, 0, -1)])
def test_bugs_are_refused(indices: np.ndarray, start: int, samples: int) -> None:
    with pytest.raises(ValueError, match="sample_order"):
        sample_order(indices, 0, start, samples)


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(8, 4, [4, 4]), (9, 4, [4, 3, 2]), (10, 4, [4, 4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 2, [2, 1])],
)
def test_no_image_is_left_alone_when_it_can_be_helped(count: int, size: int, lengths: list[int]) -> None:
    cut = batches(np.arange(count), size)
    assert [len(batch) for batch in cut] == lengths
    assert np.concatenate(cut).tolist() == list(range(count))
