"""Resampling by linear interpolation, antialiased where it makes smaller; separable, in numpy.

Pixels are areas: index ``i`` has its centre at ``i + 1/2``, so that image corners stay corners.
Along each axis the resized image is a fixed matrix times the image. Enlarging interpolates
linearly; making smaller widens the linear (triangle) kernel by the scale factor, which averages
over the area of each new pixel (Turkowski, "Filters for Common Resampling Tasks", Graphics Gems I, 1990).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def resampled_shape(
    shape: Sequence[int], native_mm: Sequence[float] | None, wanted_mm: Sequence[float] | None
) -> tuple[int, ...]:
    """Shape after resampling to ``wanted_mm`` voxels; unchanged when None or when the native size is unknown."""
    if wanted_mm is None or native_mm is None:
        return tuple(shape)
    steps = zip(shape, native_mm, wanted_mm, strict=True)
    return tuple(max(1, round(length * native / wanted)) for length, native, wanted in steps)


def resize(image: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Resize the last ``len(shape)`` axes of a float32 array to ``shape``."""
    first = image.ndim - len(shape)
    for axis, length in enumerate(shape, start=first):
        if image.shape[axis] != length:
            matrix = weights(image.shape[axis], length)
            image = np.moveaxis(np.tensordot(image, matrix, axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(image, dtype=np.float32)


def resize_mask(mask: NDArray[np.uint8], shape: Sequence[int], classes: int) -> NDArray[np.uint8]:
    """Resize class indices: each class's indicator is resized, the largest share wins a voxel.

    Args:
        mask: ``[*native]``, values 0 to ``classes - 1``.
        shape: The new shape.
        classes: Number of classes, background counts.
    """
    if mask.shape == tuple(shape):
        return mask.copy()
    best = resize((mask == 0).astype(np.float32), shape)
    chosen = np.zeros(tuple(shape), dtype=np.uint8)
    for index in range(1, classes):
        share = resize((mask == index).astype(np.float32), shape)
        wins = share > best
        chosen[wins] = index
        best[wins] = share[wins]
    return chosen


@lru_cache(maxsize=512)
def weights(source: int, target: int) -> NDArray[np.float32]:
    """The matrix ``[target, source]`` that resizes one axis; its rows sum to 1."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / support
    matrix = np.maximum(0.0, 1.0 - distance)
    matrix /= matrix.sum(axis=1, keepdims=True)
    result = matrix.astype(np.float32)
    result.flags.writeable = False
    return result
