"""Soft-edged shapes that phantoms are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.floating[Any]]
    """Values on the pixels or voxels of a batch, ``[N, *size]``, or of each image, ``[N, 1, …]``."""


def single(values: ArrayLike) -> NDArray[np.float32]:
    """The values as float32, without a copy if they are."""
    return np.asarray(values, np.float32)


def inside(distance: Array, softness: float) -> NDArray[np.float32]:
    """1 where ``distance`` is well below 0, 0 well above, a smooth edge of width ``softness``."""
    return single(1 / (1 + np.exp(np.clip(distance / np.float32(softness), -30, 30))))


def bar(distance: Array, half_width: float) -> NDArray[np.float32]:
    """1 on a line, 0 beyond ``half_width`` from it, flat in between like a bone."""
    square = np.square(distance / np.float32(half_width))
    return single(np.exp(-np.square(square)))


def ellipsoid(point: Sequence[Array], half_axes: Sequence[Array | float]) -> NDArray[np.float32]:
    """0 on the surface, -1 in the centre, growing linearly outwards; one coordinate for every half axis."""
    squares = (np.square(axis / half) for axis, half in zip(point, half_axes, strict=True))
    return single(np.sqrt(sum(squares)) - 1)
