"""DenseNet-121 and ResNet-18 of MONAI for images and volumes, trained from scratch.

Huang et al., Densely Connected Convolutional Networks, CVPR 2017; He et al., Deep Residual
Learning, CVPR 2016; Hara et al., Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs, CVPR
2018 (the 3D ResNet).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field

from wardround.common.models.entry import ModelEntry, Parameters
from wardround.common.models.norms import monai_norm
from wardround.common.models.standardised import standardise_convolutions

if TYPE_CHECKING:
    from torch import nn

    from wardround.common.study import Study

SMALLEST = 32
"""Voxels an axis needs to survive the five halvings of either model."""


class DenseNetParameters(Parameters):
    """Parameters of ``densenet121``.

    Attributes:
        norm: ``batch`` (running statistics travel with the model) or ``group``.
        dropout: Probability of dropping a feature.
        standardised: Standardise the weights of every convolution (:mod:`wardround.common.models.standardised`).
    """

    norm: Literal["batch", "group"] = "batch"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    standardised: bool = False


class ResNetParameters(Parameters):
    """Parameters of ``resnet18``.

    Attributes:
        norm: ``batch`` (running statistics travel with the model) or ``group``.
        standardised: Standardise the weights of every convolution (:mod:`wardround.common.models.standardised`).
    """

    norm: Literal["batch", "group"] = "batch"
    standardised: bool = False


def _misfit(study: Study, parameters: Parameters) -> str | None:
    del parameters
    if study.task.kind != "classification":
        return "the model predicts labels and the task is segmentation"
    if min(study.input.size) < SMALLEST:
        return f"input.size must be at least {SMALLEST} in every axis"
    return None


def _build_densenet(study: Study, parameters: Parameters) -> nn.Module:
    from monai.networks.nets.densenet import DenseNet121

    chosen = cast("DenseNetParameters", parameters)
    module = DenseNet121(
        spatial_dims=study.task.dimensions,
        in_channels=len(study.task.channels),
        out_channels=study.task.outputs,
        norm=monai_norm(chosen.norm, 32, 64),
        dropout_prob=chosen.dropout,
    )
    if chosen.standardised:
        standardise_convolutions(module)
    return module


def _build_resnet(study: Study, parameters: Parameters) -> nn.Module:
    from monai.networks.nets.resnet import resnet18

    chosen = cast("ResNetParameters", parameters)
    module = resnet18(
        spatial_dims=study.task.dimensions,
        n_input_channels=len(study.task.channels),
        conv1_t_stride=2,  # the stem of the paper; MONAI's default keeps the full resolution at four times the cost
        num_classes=study.task.outputs,
        norm=monai_norm(chosen.norm, 64),
    )
    if chosen.standardised:
        standardise_convolutions(module)
    return module


DENSENET121 = ModelEntry(
    "densenet121", "DenseNet-121 (MONAI), classification", DenseNetParameters, _misfit, _build_densenet
)
RESNET18 = ModelEntry("resnet18", "ResNet-18 (MONAI), classification", ResNetParameters, _misfit, _build_resnet)
