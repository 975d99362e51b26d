"""A linear classifier of voxels over fixed features; for segmentation with differential privacy.

The features are those that interactive segmentation trains on (Berg et al., ilastik, Nature Methods 2019), at several
scales (Burt and Adelson, IEEE Trans. Communications 1983; Lindeberg, Scale-Space Theory in Computer Vision, 1994), and
where in the image a voxel lies. Noise grows with the number of trained values, and here those are a few hundred; a
U-Net has a hundred thousand.

1. Scales: the image, and each halving of its resolution.
2. At each scale: brightness, its derivative along every axis, their norm; its difference from the next scale, and the
   root mean square of that difference in the voxels of the next scale.
3. Each map by itself: divided by its root mean square over the image, clipped to plus or minus ``LIMIT``.
4. Position: products of cosines, at most ``waves`` half periods together, as in the discrete cosine transform.
5. All of them at the image's resolution; one linear layer, zero at first.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit
from pydantic import Field
from torch import nn

from wardround.common.models.entry import ModelEntry, Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.study import Study

LIMIT: Final = 4.0
"""Largest value of a feature, in root mean squares."""

SMALLEST: Final = 1e-3
"""Root mean square that a map is taken to have at least: rounding errors of a flat image stay small."""


class VoxelwiseParameters(Parameters):
    """Parameters of ``voxelwise``.

    Attributes:
        scales: Scales of the features; every further one sees the image at half the resolution.
        waves: Half periods of the waves of position, over all axes together; 0 leaves position out.
    """

    scales: Annotated[int, Field(ge=1, le=8)] = 4
    waves: Annotated[int, Field(ge=0, le=12)] = 4


class Voxelwise(nn.Module):
    """``[B, C, *size]`` to logits ``[B, outputs, *size]``; only the linear layer is trained, and only it travels."""

    def __init__(self, dimensions: Literal[2, 3], channels: int, outputs: int, parameters: VoxelwiseParameters) -> None:
        super().__init__()
        self._scales = parameters.scales
        self._waves = [
            periods
            for periods in product(range(parameters.waves + 1), repeat=dimensions)
            if sum(periods) <= parameters.waves
        ]
        self._maps = channels * (parameters.scales * (dimensions + 2) + 2 * (parameters.scales - 1))
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.head = convolution(self._maps + len(self._waves), outputs, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, outputs, *size]`` of ``[B, C, *size]``."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``[B, inputs of the linear layer, *size]``, each image by itself.

        Computed in float32 at least, whatever the precision around it: they cost little.
        """
        with torch.autocast(images.device.type, enabled=False):
            batch, channels, *size = images.shape
            level = images.to(torch.promote_types(images.dtype, torch.float32)).reshape(batch * channels, 1, *size)
            found = [self._at_size(maps, size) for maps in self._of_scales(level)]
            maps = torch.cat(found, 1).reshape(batch, self._maps, *size)
            position = self._position(size, maps).expand(batch, -1, *size)
            return torch.cat([maps, position], 1)

    def _of_scales(self, level: torch.Tensor) -> list[torch.Tensor]:
        """Steps 1 to 3 for ``[N, 1, *size]``: the maps of each scale, at its resolution."""
        found: list[torch.Tensor] = []
        for scale in range(self._scales):
            found.append(_normalised(_slopes(level)))
            if scale < self._scales - 1:
                coarser = _halved(level)
                detail = level - self._at_size(coarser, level.shape[2:])
                found.append(_normalised(detail))
                found.append(_normalised(torch.sqrt(_halved(detail.square()) + SMALLEST**4)))
                level = coarser
        return found

    def _at_size(self, maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        mode = "bilinear" if len(size) == 2 else "trilinear"
        return maps if list(maps.shape[2:]) == list(size) else F.interpolate(maps, tuple(size), mode=mode)

    def _position(self, size: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """Step 4: ``[waves, *size]``; voxel i of n lies at (i + 1/2) / n."""
        places = [(torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n for n in size]
        grids = torch.meshgrid(*places, indexing="ij")
        waves = []
        for periods in self._waves:
            wave = torch.ones_like(grids[0])
            for period, grid in zip(periods, grids, strict=True):
                wave = wave * torch.cos(math.pi * period * grid)
            waves.append(wave)
        return torch.stack(waves)


def _slopes(level: torch.Tensor) -> torch.Tensor:
    """``[N, 1, *size]`` to brightness, derivatives and their norm, ``[N, dimensions + 2, *size]``."""
    slopes = torch.cat([_slope(level, axis) for axis in range(2, level.ndim)], 1)
    norm = torch.sqrt(slopes.square().sum(1, keepdim=True) + SMALLEST**4)
    return torch.cat([level, slopes, norm], 1)


def _slope(level: torch.Tensor, axis: int) -> torch.Tensor:
    """Central differences along an axis; beyond the border the image goes on as it ends."""
    last = level.shape[axis] - 1
    after = torch.arange(last + 1, device=level.device).add(1).clamp(max=last)
    before = torch.arange(last + 1, device=level.device).sub(1).clamp(min=0)
    return (level.index_select(axis, after) - level.index_select(axis, before)) / 2


def _halved(level: torch.Tensor) -> torch.Tensor:
    """Means over cells of two voxels along every axis; an odd size is rounded up."""
    size = tuple((n + 1) // 2 for n in level.shape[2:])
    return F.interpolate(level, size, mode="area")


def _normalised(maps: torch.Tensor) -> torch.Tensor:
    """Step 3 for ``[N, maps, *size]``."""
    axes = tuple(range(2, maps.ndim))
    size = torch.sqrt(maps.square().mean(axes, keepdim=True) + SMALLEST**4)
    return (maps / size.clamp(min=SMALLEST)).clamp(-LIMIT, LIMIT)


def _misfit(study: Study, parameters: Parameters) -> str | None:
    chosen = cast("VoxelwiseParameters", parameters)
    if study.task.kind != "segmentation":
        return "voxelwise predicts masks and the task is classification"
    smallest = 2**chosen.scales
    if min(study.input.size) < smallest:
        return f"input.size must be at least {smallest} in every axis: the coarsest scale has two voxels"
    return None


def _build(study: Study, parameters: Parameters) -> nn.Module:
    task = study.task
    return Voxelwise(task.dimensions, len(task.channels), task.outputs, cast("VoxelwiseParameters", parameters))


VOXELWISE = ModelEntry(
    "voxelwise",
    "Fixed features of voxels and a trained linear layer, 2D and 3D segmentation",
    VoxelwiseParameters,
    _misfit,
    _build,
)
