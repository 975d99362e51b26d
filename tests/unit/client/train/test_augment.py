"""Augmentation: one generator, masks move with images, ranges as documented."""

from __future__ import annotations

import math

import pytest
import torch

from wardround.client.train.augment import affine_matrices, augment

EVERYTHING = ("flip_lr", "rotate", "shift", "scale", "intensity", "gamma", "noise")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(12, 10), (8, 10, 6)])
def test_deterministic_and_free_of_the_global_generator(size: tuple[int, ...]) -> None:
    images = torch.randn(4, 2, *size, generator=generator(1))
    masks = torch.randint(0, 3, (4, *size), generator=generator(2), dtype=torch.uint8)
    kept_images, kept_masks = images.clone(), masks.clone()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = augment(images, masks, EVERYTHING, generator(5))
    again = augment(images, masks, EVERYTHING, generator(5))
    other = augment(images, masks, EVERYTHING, generator(6))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first[0], again[0])
    assert first[1] is not None
    assert again[1] is not None
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == images.shape
    assert first[1].dtype == torch.uint8
    assert bool((first[1] <= 2).all())
    assert torch.equal(images, kept_images)
    assert torch.equal(masks, kept_masks)


@pytest.mark.parametrize(("size", "axis"), [((4, 6), 3), ((4, 6, 5), 2)])
def test_flip_mirrors_left_and_right_in_about_half(size: tuple[int, ...], axis: int) -> None:
    images = torch.randn(200, 1, *size, generator=generator(1))
    masks = (images[:, 0] > 0).to(torch.uint8)
    moved, moved_masks = augment(images, masks, ("flip_lr",), generator())
    assert moved_masks is not None
    flipped = torch.tensor([torch.equal(a, b.flip(axis - 1)) for a, b in zip(moved, images, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(moved, images, strict=True)])
    assert torch.all(flipped ^ kept)
    assert 70 <= int(flipped.sum()) <= 130
    assert torch.equal(moved_masks, (moved[:, 0] > 0).to(torch.uint8))


@pytest.mark.parametrize("size", [(40, 24), (24, 40, 32)])
@pytest.mark.parametrize("name", ["rotate", "shift", "scale"])
def test_masks_follow_their_images(size: tuple[int, ...], name: str) -> None:
    masks = torch.zeros(16, *size, dtype=torch.uint8)
    box = tuple(slice(length // 4, length // 2) for length in size)
    masks[(slice(None), *box)] = 1
    moved, moved_masks = augment(masks.unsqueeze(1).float(), masks, (name,), generator())
    assert moved_masks is not None
    assert not torch.equal(moved_masks, masks)
    axes = tuple(range(1, masks.ndim))
    linear = moved[:, 0] > 0.5
    overlap = 2.0 * (linear & (moved_masks > 0)).sum(axes) / (linear.sum(axes) + moved_masks.sum(axes))
    assert float(overlap.min()) > 0.85


def test_matrices_stay_in_their_ranges() -> None:
    size = (40, 24)
    shift = affine_matrices(500, size, frozenset({"shift"}), generator())
    torch.testing.assert_close(shift[:, :, :2], torch.eye(2).expand(500, 2, 2))
    assert 0.19 < float(shift[:, :, 2].abs().max()) <= 0.2
    scale = affine_matrices(500, size, frozenset({"scale"}), generator())
    assert 0.9 < float(1 / scale[:, 0, 0].max()) < 0.91
    assert 1.09 < float(1 / scale[:, 0, 0].min()) <= 1.1001
    turn = affine_matrices(500, size, frozenset({"rotate"}), generator())
    angle = torch.acos(turn[:, 0, 0].clamp(max=1.0))
    assert math.radians(9.5) < float(angle.max()) <= math.radians(10) + 1e-5


@pytest.mark.parametrize("size", [(40, 24), (24, 40, 32)])
def test_rotations_are_rigid_in_voxels(size: tuple[int, ...]) -> None:
    axes = len(size)
    turn = affine_matrices(50, size, frozenset({"rotate"}), generator())[:, :, :axes]
    extent = torch.tensor(size[::-1], dtype=torch.float32)
    in_voxels = torch.diag(extent) @ turn @ torch.diag(1 / extent)
    identity = torch.eye(axes).expand(50, axes, axes)
    torch.testing.assert_close(in_voxels @ in_voxels.transpose(1, 2), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(in_voxels), torch.ones(50))


def test_shift_moves_by_a_tenth_at_most() -> None:
    images = torch.zeros(64, 1, 41, 41)
    images[:, :, 20, 20] = 1.0
    moved, _ = augment(images, None, ("shift",), generator())
    place = moved.flatten(1).argmax(1)
    rows, columns = place // 41 - 20, place % 41 - 20
    assert int(rows.abs().max()) in {3, 4}
    assert int(columns.abs().max()) in {3, 4}


def test_intensities_keep_their_ranges_and_constants_finite() -> None:
    images = torch.randn(100, 1, 16, 16, generator=generator(1))
    gamma, _ = augment(images, None, ("gamma",), generator())
    axes = (2, 3)
    torch.testing.assert_close(gamma.amin(axes), images.amin(axes), atol=1e-5, rtol=0)
    torch.testing.assert_close(gamma.amax(axes), images.amax(axes), atol=1e-5, rtol=0)
    assert not torch.equal(gamma, images)
    noise, _ = augment(images, None, ("noise",), generator())
    ratio = (noise - images).std(axes) / images.std(axes)
    assert 0.08 < float(ratio.max()) < 0.12
    scaled, _ = augment(images, None, ("intensity",), generator())
    ratio = scaled.std(axes) / images.std(axes)
    assert 0.89 < float(ratio.min()) < 0.92
    assert 1.08 < float(ratio.max()) < 1.11
    constant, _ = augment(torch.ones(3, 1, 8, 8), None, EVERYTHING, generator())
    assert torch.isfinite(constant).all()


def test_nothing_named_changes_nothing() -> None:
    images = torch.randn(2, 1, 8, 8, generator=generator())
    same, masks = augment(images, None, (), generator())
    assert torch.equal(same, images)
    assert masks is None
