"""A small convolutional network for images and volumes of about 100 voxels a side.

Blocks of convolution, max pooling, normalisation and rectification (Simonyan and Zisserman, ICLR
2015, with Group Normalization, Wu and He, ECCV 2018), then global average pooling (Lin et al.,
Network In Network, ICLR 2014) and one linear layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field
from torch import nn

from wardround.common.models.entry import ModelEntry, Parameters
from wardround.common.models.norms import MAX_GROUPS
from wardround.common.models.standardised import standardise_convolutions

if TYPE_CHECKING:
    import torch

    from wardround.common.study import Study

Width = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]


class SmallCnnParameters(Parameters):
    """Parameters of ``small_cnn``.

    Attributes:
        widths: Feature maps of each block, multiples of 8; every block halves the resolution.
        stem_stride: 2 makes the first convolution a 5-voxel one in steps of two: the full resolution
            is where a small network spends most of its time. 1 keeps it like the others.
        norm: ``group`` (8 groups) or ``batch``.
        dropout: Probability of dropping a feature before the linear layer.
        standardised: Standardise the weights of every convolution (:mod:`wardround.common.models.standardised`).
    """

    widths: tuple[Width, ...] = Field(default=(32, 64, 128, 256), min_length=1, max_length=8)
    stem_stride: Literal[1, 2] = 2
    norm: Literal["group", "batch"] = "group"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    standardised: bool = False


class SmallCnn(nn.Module):
    """``[B, C, *size]`` to logits ``[B, outputs]``."""

    def __init__(self, dimensions: Literal[2, 3], channels: int, outputs: int, parameters: SmallCnnParameters) -> None:
        super().__init__()
        inputs = (channels, *parameters.widths)
        strides = (parameters.stem_stride, *(1,) * (len(parameters.widths) - 1))
        blocks = [
            _block(dimensions, before, after, stride=stride, norm=parameters.norm)
            for before, after, stride in zip(inputs, parameters.widths, strides, strict=False)
        ]
        self.features = nn.Sequential(*blocks)
        if parameters.standardised:
            standardise_convolutions(self.features)
        self.dropout = nn.Dropout(parameters.dropout)
        self.head = nn.Linear(parameters.widths[-1], outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, outputs]`` of ``[B, C, *size]``."""
        pooled = self.features(images).flatten(2).mean(2)
        logits: torch.Tensor = self.head(self.dropout(pooled))
        return logits


def _block(
    dimensions: Literal[2, 3], before: int, after: int, *, stride: int, norm: Literal["group", "batch"]
) -> nn.Sequential:
    flat = dimensions == 2
    convolution = nn.Conv2d if flat else nn.Conv3d
    batch = nn.BatchNorm2d if flat else nn.BatchNorm3d
    pool = nn.MaxPool2d if flat else nn.MaxPool3d
    # The normalisation has a bias of its own, and after the pooling it costs a quarter of what it would before.
    return nn.Sequential(
        convolution(before, after, 2 * stride + 1, stride=stride, padding=stride, bias=False),
        pool(2),
        nn.GroupNorm(MAX_GROUPS, after) if norm == "group" else batch(after),
        nn.ReLU(inplace=True),
    )


def _misfit(study: Study, parameters: Parameters) -> str | None:
    chosen = cast("SmallCnnParameters", parameters)
    if study.task.kind != "classification":
        return "small_cnn predicts labels and the task is segmentation"
    factor = chosen.stem_stride * 2 ** len(chosen.widths)
    if min(study.input.size) < factor:
        return f"input.size must be at least {factor} in every axis, the product of all halvings"
    return None


def _build(study: Study, parameters: Parameters) -> nn.Module:
    task = study.task
    return SmallCnn(task.dimensions, len(task.channels), task.outputs, cast("SmallCnnParameters", parameters))


SMALL_CNN = ModelEntry("small_cnn", "Small CNN, 2D and 3D classification", SmallCnnParameters, _misfit, _build)
