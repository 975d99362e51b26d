"""Overlap, surface distance and volume of one structure in one image, by MONAI, in the native grid.

Definitions: Reinke et al., Metrics Reloaded, Nature Methods 2024. HD95 is the larger of the two
directed 95th percentiles of the distances between the surfaces (mm). Surface Dice is the share of
both surfaces within a tolerance of the other (Nikolov et al., arXiv:1809.04430), a surface being
its edge voxels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MM3_PER_ML = 1000.0


@dataclass(frozen=True, slots=True)
class StructureScores:
    """Scores of one structure; None where a quantity is undefined.

    Attributes:
        dice: 0 to 1; None when the structure is in neither mask, 0 when it is in one alone.
        hd95_mm: Mm; None when the structure is missing from either mask.
        surface_dice: 0 to 1; as ``dice``.
        volume_error_ml: Absolute difference of the volumes, mL; None in 2D.
        volume_ml: Volume of the structure in the truth, mL; None in 2D.
    """

    dice: float | None
    hd95_mm: float | None
    surface_dice: float | None
    volume_error_ml: float | None
    volume_ml: float | None


def score_structure(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: Sequence[float] | None, tolerance_mm: float
) -> StructureScores:
    """Compare two masks of one structure.

    Args:
        predicted: ``[*size]``, two or three axes.
        truth: The same shape.
        spacing_mm: Distance of neighbouring voxels along each axis, mm; None where the images
            carry none, which leaves distances and volumes undefined.
        tolerance_mm: Of the surface Dice.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of different shape: {predicted.shape} and {truth.shape}")
    error, volume = _volumes(predicted, truth, spacing_mm)
    if not predicted.any() and not truth.any():
        return StructureScores(None, None, None, error, volume)
    if not predicted.any() or not truth.any():
        return StructureScores(0.0, None, None if spacing_mm is None else 0.0, error, volume)
    from monai.metrics.meandice import compute_dice

    box = _bounding_box(predicted | truth)
    ours, theirs = _tensor(predicted[box]), _tensor(truth[box])
    dice = float(compute_dice(ours[None, None], theirs[None, None], include_background=True))
    if spacing_mm is None:
        return StructureScores(dice, None, None, error, volume)
    hd95, surface = _surface(ours, theirs, spacing_mm, tolerance_mm)
    return StructureScores(dice, hd95, surface, error, volume)


def _surface(
    predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """HD95 and surface Dice from one pass of distance transforms, where MONAI's two functions take two."""
    from monai.metrics.utils import get_edge_surface_distance

    # A mask of ones keeps MONAI from cropping once more, which would take longer than the distances.
    everywhere = torch.ones_like(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's, about a call that MONAI itself makes
        _, directed, _ = get_edge_surface_distance(
            predicted, truth, spacing=list(spacing_mm), symmetric=True, mask=everywhere
        )
    hd95 = max(float(torch.quantile(distances, 0.95)) for distances in directed)
    near = sum(int((distances <= tolerance_mm).sum()) for distances in directed)
    return hd95, near / sum(len(distances) for distances in directed)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box around the mask and one voxel, inside the image.

    All surface voxels and so all nearest ones lie in it: distances are those of the whole image.
    """
    slices = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, size)))
    return tuple(slices)


def _tensor(mask: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))


def _volumes(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: Sequence[float] | None
) -> tuple[float | None, float | None]:
    if spacing_mm is None or truth.ndim != 3:
        return None, None
    voxel_ml = prod(spacing_mm) / MM3_PER_ML
    found, wanted = int(predicted.sum()), int(truth.sum())
    return abs(found - wanted) * voxel_ml, wanted * voxel_ml
