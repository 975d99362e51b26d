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
5. One linear layer over all of them at the image's resolution, zero at first. It is computed in parts: a linear map
   of voxels commutes with interpolation, and with the cosine transform, so every scale, and the waves, have a head of
   their own, and what it gives is brought to the image's resolution. Only the order of additions is another one.
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
from wardround.common.models.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardround.common.study import Study

    Transform = Callable[[int, int, torch.Tensor], torch.Tensor]
    """Of one axis: its length before and after, and a tensor for data type and device, to ``[after, before]``."""

LIMIT: Final = 4.0
"""Largest value of a feature, in root mean squares."""

SMALLEST: Final = 1e-3
"""Root mean square that a map is taken to have at least: rounding errors of a flat image stay small."""

MOST_VALUES: Final = 1 << 27
"""Values of features that a model remembers, 512 MB in float32: 151 volumes of 44 x 60 x 48 voxels."""


class VoxelwiseParameters(Parameters):
    """Parameters of ``voxelwise``.

    Attributes:
        scales: Scales of the features; every further one sees the image at half the resolution.
        waves: Half periods of the waves of position, over all axes together; 0 leaves position out.
    """

    scales: Annotated[int, Field(ge=1, le=8)] = 4
    waves: Annotated[int, Field(ge=0, le=12)] = 4


class Voxelwise(nn.Module):
    """``[B, C, *size]`` to logits ``[B, outputs, *size]``; only the heads are trained, and only they travel.

    Heads are in the order of the scales, the finest first; the last is that of the waves.
    """

    deltas: torch.Tensor

    def __init__(self, dimensions: Literal[2, 3], channels: int, outputs: int, parameters: VoxelwiseParameters) -> None:
        super().__init__()
        self._scales = parameters.scales
        self._known = Remembered(MOST_VALUES)
        self._periods = (parameters.waves + 1,) * dimensions
        self.register_buffer("deltas", _deltas(parameters.waves, dimensions), persistent=False)
        own = [dimensions + 2 + (scale > 0) + (scale < self._scales - 1) for scale in range(self._scales)]
        inputs = [*(channels * maps for maps in own), len(self.deltas)]
        self.heads = nn.ModuleList(nn.Conv1d(count, outputs, 1, bias=False) for count in inputs)
        for head in self.heads:
            nn.init.zeros_(cast("torch.Tensor", head.weight))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, outputs, *size]`` of ``[B, C, *size]``, in float32 at least."""
        with torch.autocast(images.device.type, enabled=False):
            size = images.shape[2:]
            *scales, waves = self.heads
            deltas = self.deltas.expand(len(images), -1, -1).reshape(len(images), -1, *self._periods)
            logits = _at_size(_headed(waves, deltas), _cosine, size)
            for head, maps in zip(scales, self._known.of(images, self.features), strict=True):
                logits = logits + _at_size(_headed(head, maps), _linear, size)
            return logits

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Steps 1 to 3: ``[B, maps, *size]`` for each scale, at its resolution; each image by itself.

        Computed in float32 at least, whatever the precision around it: they cost little.
        """
        with torch.autocast(images.device.type, enabled=False):
            batch, channels, *size = images.shape
            level = images.to(torch.promote_types(images.dtype, torch.float32)).reshape(batch * channels, 1, *size)
            found: list[torch.Tensor] = []
            rough: list[torch.Tensor] = []
            for scale in range(self._scales):
                maps = [_slopes(level), *rough]
                if scale < self._scales - 1:
                    coarser = _halved(level)
                    detail = level - _interpolated(coarser, level.shape[2:])
                    rough = [torch.sqrt(_halved(detail.square()) + SMALLEST**4)]
                    maps.append(detail)
                    level = coarser
                found.append(_normalised(torch.cat(maps, 1)))
            return [maps.reshape(batch, -1, *maps.shape[2:]) for maps in found]


def _deltas(waves: int, dimensions: int) -> torch.Tensor:
    """Step 4 as the cosine transform has it: for each wave the grid of half periods, with a one in the wave's place.

    Returns:
        ``[number of waves, (waves + 1) ** dimensions]``.
    """
    places = list(product(range(waves + 1), repeat=dimensions))
    return torch.eye(len(places))[[sum(periods) <= waves for periods in places]]


def _headed(head: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """``[B, maps, *size]`` to ``[B, outputs, *size]``."""
    logits: torch.Tensor = head(maps.flatten(2))
    return logits.reshape(*logits.shape[:2], *maps.shape[2:])


def _at_size(logits: torch.Tensor, transform: Transform, size: Sequence[int]) -> torch.Tensor:
    """``[B, outputs, *any]`` to ``[B, outputs, *size]``, axis by axis."""
    for axis, (before, after) in enumerate(zip(logits.shape[2:], size, strict=True), start=2):
        if transform is _cosine or before != after:
            logits = _along(axis, transform(before, after, logits), logits)
    return logits


def _along(axis: int, matrix: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Multiply the values along an axis, without moving it: a copy would take longer than the product."""
    rest = logits.shape[axis + 1 :]
    if not rest:
        return logits @ matrix.T
    return (matrix @ logits.flatten(axis + 1)).reshape(*logits.shape[:axis], -1, *rest)


def _linear(before: int, after: int, like: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of an axis, ``[after, before]``."""
    return F.interpolate(torch.eye(before, dtype=like.dtype, device=like.device)[None], after, mode="linear")[0].T


def _cosine(before: int, after: int, like: torch.Tensor) -> torch.Tensor:
    """Cosines of 0 to ``before - 1`` half periods, ``[after, before]``; voxel i of n lies at (i + 1/2) / n."""
    places = (torch.arange(after, dtype=like.dtype, device=like.device) + 0.5) / after
    return torch.cos(math.pi * torch.outer(places, torch.arange(before, dtype=like.dtype, device=like.device)))


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


def _interpolated(level: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(level, tuple(size), mode="bilinear" if len(size) == 2 else "trilinear")


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
