"""Random transforms of a batch, drawn from one generator and applied to all images at once.

Masks move with their images by the same transform, with nearest-neighbour interpolation. Ranges:

=========  ======================================================================================
flip_lr    half of the images mirrored left to right (last axis in 2D, first voxel axis in 3D)
rotate     -10 to 10 degrees (each axis in 3D)
shift      -10 to 10 % of the size, each axis
scale      0.9 to 1.1
intensity  times 0.9 to 1.1, plus -0.1 to 0.1 of the image's standard deviation, each channel
gamma      exponent 0.7 to 1.4 (log-uniform) on the image scaled to 0 to 1, each channel
noise      Gaussian, standard deviation 0 to 0.1 of the image's own, each channel
=========  ======================================================================================

Rotation, shift and scale are composed into one affine resampling, at the place of the first of
them; voxels from outside repeat the border. All parameters are drawn on the CPU, so that every
device sees the same draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

if TYPE_CHECKING:
    from collections.abc import Sequence

AFFINE: Final = frozenset({"rotate", "shift", "scale"})
MAX_ANGLE: Final = math.radians(10)
MAX_SHIFT: Final = 0.1
MAX_SCALE: Final = 0.1
INTENSITY: Final = 0.1
GAMMA: Final = (math.log(0.7), math.log(1.4))
NOISE: Final = 0.1


def augment(
    images: torch.Tensor, masks: torch.Tensor | None, names: Sequence[str], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply the named transforms in their order.

    Args:
        images: ``[B, C, *size]`` float32, two or three spatial axes; not changed.
        masks: ``[B, *size]`` class indices, or None.
        names: Of ``training.augmentation``.
        generator: On the CPU; the only source of randomness.

    Returns:
        New images and masks of the same shapes and types.
    """
    moved = False
    for name in names:
        if name in AFFINE:
            if not moved:
                images, masks = _affine(images, masks, AFFINE.intersection(names), generator)
                moved = True
        elif name == "flip_lr":
            images, masks = _flip(images, masks, generator)
        else:
            images = _INTENSITIES[name](images, generator)
    return images, masks


def _uniform(shape: tuple[int, ...], low: float, high: float, like: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return (low + (high - low) * torch.rand(shape, generator=g)).to(like.device)


def _flip(
    images: torch.Tensor, masks: torch.Tensor | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    axis = 3 if images.ndim == 4 else 2
    images = torch.where(_per_image(chosen, images), images.flip(axis), images)
    if masks is not None:
        masks = torch.where(_per_image(chosen, masks), masks.flip(axis - 1), masks)
    return images, masks


def _affine(
    images: torch.Tensor, masks: torch.Tensor | None, names: frozenset[str], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    theta = affine_matrices(len(images), tuple(images.shape[2:]), names, generator).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if masks is None:
        return moved, None
    layer = masks.unsqueeze(1).to(images.dtype)
    nearest = F.grid_sample(layer, grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, nearest.squeeze(1).to(masks.dtype)


def affine_matrices(
    count: int, size: tuple[int, ...], names: frozenset[str], generator: torch.Generator
) -> torch.Tensor:
    """Random affine maps from output to input, in the coordinates of ``affine_grid``.

    Those run from -1 to 1 in every axis, last axis first, so a rotation in voxels is conjugated
    with the size of the image.

    Args:
        count: Number of images.
        size: Spatial size in the order of the image's axes.
        names: Any of ``rotate``, ``shift``, ``scale``.
        generator: On the CPU.

    Returns:
        ``[count, d, d + 1]`` for d spatial axes.
    """
    axes = len(size)
    angles = 1 if axes == 2 else 3
    turn = (2 * torch.rand((count, angles), generator=generator) - 1) * (MAX_ANGLE if "rotate" in names else 0.0)
    zoom = 1 + (2 * torch.rand((count, 1, 1), generator=generator) - 1) * (MAX_SCALE if "scale" in names else 0.0)
    # A shift by a share of the size is twice that share in coordinates from -1 to 1.
    shift = (2 * torch.rand((count, axes, 1), generator=generator) - 1) * (2 * MAX_SHIFT if "shift" in names else 0.0)
    extent = torch.tensor(size[::-1], dtype=torch.float32)
    rotation = _rotations(turn) * extent.view(1, 1, -1) / extent.view(1, -1, 1)
    return torch.cat([rotation / zoom, shift], dim=2)


def _rotations(angles: torch.Tensor) -> torch.Tensor:
    """``[n, 1]`` angles to 2D, ``[n, 3]`` to 3D rotation matrices (product over the axes)."""
    if angles.shape[1] == 1:
        return _plane(angles[:, 0], 0, 1, 2)
    return _plane(angles[:, 0], 0, 1, 3) @ _plane(angles[:, 1], 0, 2, 3) @ _plane(angles[:, 2], 1, 2, 3)


def _plane(angle: torch.Tensor, first: int, second: int, axes: int) -> torch.Tensor:
    matrix = torch.eye(axes).repeat(len(angle), 1, 1)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    matrix[:, first, first], matrix[:, first, second] = cosine, -sine
    matrix[:, second, first], matrix[:, second, second] = sine, cosine
    return matrix


def _intensity(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    shape = (images.shape[0], images.shape[1])
    factor = _per_image(_uniform(shape, 1 - INTENSITY, 1 + INTENSITY, images, generator), images)
    offset = _per_image(_uniform(shape, -INTENSITY, INTENSITY, images, generator), images)
    return images * factor + offset * _deviation(images)


def _gamma(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    axes = tuple(range(2, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(images.dtype).tiny)
    exponent = _uniform((images.shape[0], images.shape[1]), *GAMMA, images, generator).exp()
    return ((images - low) / span).pow(_per_image(exponent, images)) * span + low


def _noise(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    amount = _uniform((images.shape[0], images.shape[1]), 0.0, NOISE, images, generator)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return images + noise * (_per_image(amount, images) * _deviation(images))


_INTENSITIES: Final = {"intensity": _intensity, "gamma": _gamma, "noise": _noise}


def _deviation(images: torch.Tensor) -> torch.Tensor:
    return images.std(tuple(range(2, images.ndim)), keepdim=True, correction=0)


def _per_image(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.view(*values.shape, *(1,) * (like.ndim - values.ndim))
