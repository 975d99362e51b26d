"""Scores of one structure against MONAI on the whole image, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice

from wardround.client.evaluate.surfaces import score_structure


def ellipsoid(size: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(size).astype(float)
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)]
    return np.asarray(np.sum(parts, axis=0) <= 1)


SHAPES = [
    ((40, 30), (20, 15), (7, 5), (22, 13), (1.0, 1.0)),
    ((40, 30), (3, 3), (7, 5), (38, 28), (0.5, 2.0)),  # cut off by opposite borders
    ((24, 30, 20), (12, 15, 10), (6, 5, 4), (13, 13, 10), (1.0, 1.0, 1.0)),
    ((24, 30, 20), (1, 15, 18), (6, 5, 4), (5, 14, 19), (0.8, 1.2, 3.0)),
]


@pytest.mark.parametrize(("size", "centre", "radii", "other", "spacing"), SHAPES)
def test_cropping_changes_nothing(
    size: tuple[int, ...],
    centre: tuple[float, ...],
    radii: tuple[float, ...],
    other: tuple[float, ...],
    spacing: tuple[float, ...],
) -> None:
    truth, predicted = ellipsoid(size, centre, radii), ellipsoid(size, other, radii)
    found = score_structure(predicted, truth, spacing, tolerance_mm=1.0)
    ours, theirs = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth))
    hd95 = compute_hausdorff_distance(ours, theirs, include_background=True, percentile=95, spacing=list(spacing))
    surface = compute_surface_dice(ours, theirs, [1.0], include_background=True, spacing=list(spacing))
    assert found.hd95_mm == pytest.approx(float(hd95), abs=0)
    assert found.surface_dice == pytest.approx(float(surface), rel=1e-6)
    dice = 2 * np.sum(predicted & truth) / (predicted.sum() + truth.sum())
    assert found.dice == pytest.approx(dice, rel=1e-6)


def test_two_cubes_by_hand() -> None:
    truth, predicted = (np.zeros((12, 12, 12), bool) for _ in range(2))
    truth[2:6, 2:6, 2:6] = True
    predicted[4:8, 2:6, 2:6] = True
    found = score_structure(predicted, truth, (2.0, 1.0, 1.0), tolerance_mm=1.0)
    assert found.dice == pytest.approx(0.5)
    assert found.hd95_mm == pytest.approx(4.0)  # two voxels of 2 mm
    assert found.volume_ml == pytest.approx(64 * 2 / 1000)
    assert found.volume_error_ml == pytest.approx(0.0)


def test_identical_masks_are_perfect() -> None:
    mask = ellipsoid((20, 20), (10, 10), (5, 4))
    found = score_structure(mask, mask, (1.0, 1.0), tolerance_mm=0.5)
    assert (found.dice, found.hd95_mm, found.surface_dice) == (1.0, 0.0, 1.0)
    assert found.volume_ml is None  # an area is no volume


def test_absent_structures() -> None:
    empty, mask = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    mask[2:4, 2:4, 2:5] = True
    both = score_structure(empty, empty, (1.0, 1.0, 1.0), tolerance_mm=1.0)
    assert (both.dice, both.hd95_mm, both.surface_dice) == (None, None, None)
    assert (both.volume_error_ml, both.volume_ml) == (0.0, 0.0)
    missed = score_structure(empty, mask, (1.0, 1.0, 1.0), tolerance_mm=1.0)
    assert (missed.dice, missed.hd95_mm, missed.surface_dice) == (0.0, None, 0.0)
    assert (missed.volume_error_ml, missed.volume_ml) == (0.012, 0.012)
    invented = score_structure(mask, empty, (1.0, 1.0, 1.0), tolerance_mm=1.0)
    assert (invented.dice, invented.hd95_mm, invented.surface_dice) == (0.0, None, 0.0)
    assert (invented.volume_error_ml, invented.volume_ml) == (0.012, 0.0)


def test_without_spacing_only_overlap_is_defined() -> None:
    mask = ellipsoid((20, 20), (10, 10), (5, 4))
    found = score_structure(mask, np.roll(mask, 1, axis=0), None, tolerance_mm=1.0)
    assert found.dice is not None
    assert 0.5 < found.dice < 1
    assert (found.hd95_mm, found.surface_dice) == (None, None)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shape"):
        score_structure(np.zeros((4, 4), bool), np.zeros((4, 5), bool), (1.0, 1.0), tolerance_mm=1.0)
