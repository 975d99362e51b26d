"""Residual U-Net of MONAI in two and three dimensions.

Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net, STACOM 2018, after Ronneberger
et al., MICCAI 2015.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Self, cast

from pydantic import Field, model_validator

from wardround.common.models.entry import ModelEntry, Parameters
from wardround.common.models.norms import Norm, monai_norm

if TYPE_CHECKING:
    from torch import nn

    from wardround.common.study import Study

Width = Annotated[int, Field(ge=1, le=2048)]
Stride = Annotated[int, Field(ge=1, le=4)]


class UNetParameters(Parameters):
    """Parameters of ``unet``.

    Attributes:
        channels: Feature maps of each level, from the full resolution downwards.
        strides: Down-sampling factor between two levels; one fewer than ``channels``.
        residual_units: Convolutions of each residual unit; 0 gives plain convolutions.
        norm: ``instance`` (no batch statistics: nothing of the patients in it), ``group`` or
            ``batch``.
        dropout: Probability of dropping a feature map.
    """

    channels: tuple[Width, ...] = Field(default=(16, 32, 64), min_length=2, max_length=8)
    strides: tuple[Stride, ...] = Field(default=(2, 2), min_length=1, max_length=7)
    residual_units: Annotated[int, Field(ge=0, le=4)] = 1
    norm: Norm = "instance"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError("strides has one number fewer than channels")
        return self


def _misfit(study: Study, parameters: Parameters) -> str | None:
    chosen = cast("UNetParameters", parameters)
    if study.task.kind != "segmentation":
        return "unet predicts masks and the task is classification"
    factor = prod(chosen.strides)
    if any(size % factor for size in study.input.size):
        return f"every number of input.size must be a multiple of {factor}, the product of the strides"
    if any(size // factor < 2 for size in study.input.size):
        return f"input.size is too small to be halved down by {factor}"
    return None


def _build(study: Study, parameters: Parameters) -> nn.Module:
    from monai.networks.nets.unet import UNet

    chosen = cast("UNetParameters", parameters)
    return UNet(
        spatial_dims=study.task.dimensions,
        in_channels=len(study.task.channels),
        out_channels=study.task.outputs,
        channels=chosen.channels,
        strides=chosen.strides,
        num_res_units=chosen.residual_units,
        norm=monai_norm(chosen.norm, *chosen.channels, study.task.outputs),
        dropout=chosen.dropout,
    )


UNET = ModelEntry("unet", "Residual U-Net (MONAI), 2D and 3D segmentation", UNetParameters, _misfit, _build)
