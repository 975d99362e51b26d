"""A fixed wavelet transform, and one linear layer that is trained.

First-order scattering (Mallat, Group invariant scattering, CPAM 2012; Bruna and Mallat, IEEE TPAMI 2013): the modulus
of oriented wavelets at several scales, averaged over the cells of a coarse grid. The wavelets are formulae, no
image was needed for them. With differential privacy such features beat networks that have to learn their own, until
there are far more patients (Tramèr and Boneh, ICLR 2021): noise grows with the number of trained values, and here
those are few.

1. Wavelets: Morlet wavelets of one scale, on the image and on each halving of its resolution after a binomial low-pass
   (Burt and Adelson, IEEE Trans. Communications 1983).
2. Modulus, averaged over the cells of the grid; with ``mirrored``, over the image and its mirror image too.
3. Square root, which evens out the variance of the averages; mean 0 and standard deviation 1 over the cells of each
   map, as instance normalisation does.
4. The whole vector is scaled to one length, so that the logistic loss of one label has gradients of norm 3 at most.
5. One linear layer, zero at first.
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
    from wardround.common.study import Study

REACH: Final = 3
"""Wavelets have 2 * REACH + 1 voxels along every axis."""

FREQUENCY: Final = 3 * math.pi / 4
"""Centre frequency of the finest wavelets, radians a voxel, as in the scattering networks cited."""

WIDTH: Final = 0.8
"""Standard deviation of the wavelets' envelope along their direction, voxels."""

ELONGATION: Final = 2.0
"""How many times longer the envelope is across that direction."""

BINOMIAL: Final = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)

LENGTH: Final = math.sqrt(8)
"""Norm of an image's features; with the bias, sqrt(LENGTH^2 + 1) = 3."""

MOST_VALUES: Final = 1 << 24
"""Values of features that a model remembers, 64 MB in float32: 14,000 images with the default parameters."""

TINY: Final = 1e-6
"""Keeps roots and quotients of constant images finite."""


class ScatteringParameters(Parameters):
    """Parameters of ``scattering``.

    Attributes:
        scales: Octaves; every further one sees the image at half the resolution.
        directions: Directions of the wavelets: spread evenly over the half circle in 2D, over the
            half sphere in 3D.
        cells: Cells of the grid along every axis.
        mirrored: Average over the image and its mirror image, left and right exchanged (last axis
            in 2D, first voxel axis in 3D): the model cannot tell sides apart, and needs fewer patients.
    """

    scales: Annotated[int, Field(ge=1, le=8)] = 4
    directions: Annotated[int, Field(ge=1, le=32)] = 8
    cells: Annotated[int, Field(ge=2, le=32)] = 6
    mirrored: bool = False


class Scattering(nn.Module):
    """``[B, C, *size]`` to logits ``[B, outputs]``; only the linear layer is trained, and only it travels."""

    filters: torch.Tensor
    lowpass: torch.Tensor

    def __init__(
        self, dimensions: Literal[2, 3], channels: int, outputs: int, parameters: ScatteringParameters
    ) -> None:
        super().__init__()
        self._parameters_chosen = parameters
        self.register_buffer("filters", morlet(directions_of(dimensions, parameters.directions)), persistent=False)
        self.register_buffer("lowpass", _binomial(dimensions), persistent=False)
        self._known = Remembered(MOST_VALUES)
        maps = channels * parameters.scales * parameters.directions
        self.head = nn.Linear(maps * parameters.cells**dimensions, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, outputs]`` of ``[B, C, *size]``."""
        (vectors,) = self._known.of(images, lambda some: [self.features(some)])
        logits: torch.Tensor = self.head(vectors)
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features ``[B, C * scales * directions * cells^dimensions]`` of norm ``LENGTH``, each image by itself.

        An image without any structure has features of nearly zero. Computed in float32 at least, whatever the
        precision around it: they cost little.
        """
        with torch.autocast(images.device.type, enabled=False):
            exact = images.to(torch.promote_types(images.dtype, torch.float32))
            maps = self._averages(exact)
            if self._parameters_chosen.mirrored:  # step 2
                side = 3 if images.ndim == 4 else 2
                maps = (maps + self._averages(exact.flip(side))) / 2
            vector = _standardised(torch.sqrt(maps + TINY)).flatten(1)  # step 3
            return LENGTH * F.normalize(vector, eps=1.0)  # step 4: rounding errors of a flat image are not lengthened

    def _averages(self, images: torch.Tensor) -> torch.Tensor:
        """Steps 1 and 2: ``[B, C, *size]`` to ``[B, C * scales * directions, *cells]``; channels by themselves."""
        batch, channels, *size = images.shape
        flat = len(size) == 2
        convolve = F.conv2d if flat else F.conv3d
        pool = F.adaptive_avg_pool2d if flat else F.adaptive_avg_pool3d
        level = images.reshape(batch * channels, 1, *size)
        found: list[torch.Tensor] = []
        for scale in range(self._parameters_chosen.scales):
            if scale > 0:
                level = convolve(_reflected(level, 2), self.lowpass, stride=2)
            parts = convolve(_reflected(level, REACH), self.filters)
            modulus = torch.sqrt(parts[:, 0::2].square() + parts[:, 1::2].square() + TINY**2)
            found.append(pool(modulus, self._parameters_chosen.cells))
        maps = torch.cat(found, 1)
        return maps.reshape(batch, -1, *maps.shape[2:])


def directions_of(dimensions: Literal[2, 3], count: int) -> torch.Tensor:
    """Unit vectors ``[count, dimensions]``, no two of them opposite.

    In 2D angles of k * 180 / count degrees to the last axis; in 3D the Fibonacci lattice on the half
    sphere around the first axis (González, Mathematical Geosciences 2010).
    """
    steps = torch.arange(count, dtype=torch.float64)
    if dimensions == 2:
        angles = math.pi * steps / count
        return torch.stack([torch.sin(angles), torch.cos(angles)], 1)
    height = (steps + 0.5) / count
    turns = math.pi * (3 - math.sqrt(5)) * steps
    radius = torch.sqrt(1 - height.square())
    return torch.stack([height, radius * torch.sin(turns), radius * torch.cos(turns)], 1)


def morlet(directions: torch.Tensor) -> torch.Tensor:
    """Morlet wavelets of mean 0 and norm 1, real and imaginary part one after the other.

    Args:
        directions: Unit vectors ``[count, dimensions]``.

    Returns:
        ``[2 * count, 1, 7, …]`` float32.
    """
    dimensions = directions.shape[1]
    ticks = range(-REACH, REACH + 1)
    places = torch.tensor(list(product(ticks, repeat=dimensions)), dtype=torch.float64)
    along = places @ directions.T
    across = (places.square().sum(1, keepdim=True) - along.square()) / ELONGATION**2
    envelope = torch.exp(-(along.square() + across) / (2 * WIDTH**2))
    waves = torch.stack([torch.cos(FREQUENCY * along), torch.sin(FREQUENCY * along)])
    means = (waves * envelope).sum(1, keepdim=True) / envelope.sum(0)
    parts = (waves - means) * envelope
    parts = parts / parts.square().sum((0, 1), keepdim=True).sqrt()
    return parts.permute(2, 0, 1).reshape(-1, 1, *(len(ticks),) * dimensions).float()


def _binomial(dimensions: int) -> torch.Tensor:
    """The binomial low-pass of five voxels an axis, ``[1, 1, 5, …]``."""
    weights = torch.tensor([math.prod(row) for row in product(BINOMIAL, repeat=dimensions)])
    return weights.reshape(1, 1, *(len(BINOMIAL),) * dimensions)


def _reflected(images: torch.Tensor, margin: int) -> torch.Tensor:
    return F.pad(images, (margin,) * (2 * (images.ndim - 2)), mode="reflect")


def _standardised(maps: torch.Tensor) -> torch.Tensor:
    """Mean 0 and standard deviation 1 over the cells of each map; a constant map becomes 0."""
    axes = tuple(range(2, maps.ndim))
    centred = maps - maps.mean(axes, keepdim=True)
    deviation = centred.square().mean(axes, keepdim=True).sqrt()
    return centred / (deviation + math.sqrt(TINY))


def _misfit(study: Study, parameters: Parameters) -> str | None:
    chosen = cast("ScatteringParameters", parameters)
    if study.task.kind != "classification":
        return "scattering predicts labels and the task is segmentation"
    smallest = 2 ** (chosen.scales - 1) * max(chosen.cells, REACH + 1)
    if min(study.input.size) < smallest:
        return f"input.size must be at least {smallest} in every axis: the coarsest scale has a voxel for every cell"
    return None


def _build(study: Study, parameters: Parameters) -> nn.Module:
    task = study.task
    return Scattering(task.dimensions, len(task.channels), task.outputs, cast("ScatteringParameters", parameters))


SCATTERING = ModelEntry(
    "scattering",
    "Fixed wavelets and a trained linear layer, 2D and 3D classification",
    ScatteringParameters,
    _misfit,
    _build,
)
