"""The flat vector: what lies where, and what its hashes tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wardround.common.vector import Layout, vector_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray


def arrays() -> dict[str, NDArray[np.float32]]:
    return {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bias": np.array([7, 8], dtype=np.float32),
        "scale": np.array(9, dtype=np.float32),
    }


def test_flatten_keeps_order_and_values() -> None:
    layout = Layout.of(arrays())
    assert layout.size == 9
    np.testing.assert_array_equal(layout.flatten(arrays()), np.array([0, 1, 2, 3, 4, 5, 7, 8, 9], dtype=np.float32))


def test_views_share_memory_with_the_vector() -> None:
    layout = Layout.of(arrays())
    vector = layout.flatten(arrays())
    views = layout.views(vector)
    assert [views[name].shape for name in views] == [(2, 3), (2,), ()]
    vector[6] = 42
    assert views["bias"][0] == 42


def test_other_names_or_shapes_are_refused() -> None:
    layout = Layout.of(arrays())
    with pytest.raises(ValueError, match="layout"):
        layout.flatten({**arrays(), "bias": np.zeros(3, dtype=np.float32)})
    with pytest.raises(ValueError, match="shape"):
        layout.views(np.zeros(8, dtype=np.float32))
    with pytest.raises(TypeError, match="float64"):
        Layout.of({"weight": np.zeros(2)})  # type: ignore[dict-item]


def test_the_layout_hash_tells_names_and_shapes_apart() -> None:
    base = Layout.of(arrays())
    renamed = Layout.of({("gain" if name == "scale" else name): array for name, array in arrays().items()})
    reshaped = Layout.of({**arrays(), "weight": np.zeros((3, 2), dtype=np.float32)})
    assert base.hash == Layout.of(arrays()).hash
    assert len({base.hash, renamed.hash, reshaped.hash}) == 3


def test_the_vector_hash_sees_a_single_bit() -> None:
    vector = np.zeros(5, dtype=np.float32)
    other = vector.copy()
    other.view(np.uint32)[3] ^= 1
    assert vector_hash(vector) == vector_hash(vector.copy())
    assert vector_hash(vector) != vector_hash(other)
