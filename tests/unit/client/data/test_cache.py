"""The cache takes the space of its arrays before they are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fakes.scenarios import chest_scenario
from numpy.lib.format import open_memmap

from wardround.client.data.cache import Arrays, cached, key_of

SHAPE = (8, 1, 256, 256)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_full_disk_is_met_before_the_map_is_written(tmp_path: Path) -> None:
    """Writing to a map of a file with holes on a full disk is a bus error, which no program survives."""
    sparse = tmp_path / "sparse.npy"
    open_memmap(sparse, mode="w+", dtype=np.float32, shape=SHAPE)
    assert allocated(sparse) < 4 * np.prod(SHAPE), "the control: a fresh map has holes"
    seen: list[int] = []

    def fill(arrays: Arrays) -> None:
        assert isinstance(arrays.images, np.memmap)
        assert isinstance(arrays.masks, np.memmap)
        seen.append(allocated(Path(str(arrays.images.filename))))
        seen.append(allocated(Path(str(arrays.masks.filename))))
        arrays.images[:] = 1

    key = key_of(1, "digest", chest_scenario().study)
    found = cached(tmp_path / "cache", key, SHAPE, masked=True, fill=fill)
    assert seen[0] >= 4 * np.prod(SHAPE)
    assert seen[1] >= np.prod(SHAPE)
    assert found.images.min() == 1
    assert found.masks is not None
    assert not found.masks.any()
