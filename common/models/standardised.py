"""Convolutions whose weights are standardised, output channel by output channel.

Qiao, Wang, Liu, Shen, Yuille, Micro-Batch Training with Batch-Channel Normalization and Weight Standardization, 2019;
with group normalisation and without statistics of a batch it is what De, Berrada, Hayes, Smith, Balle, Unlocking
High-Accuracy Differentially Private Image Classification through Scale, 2022, train with.

The weight ``w`` of an output channel, of ``n`` values (the fan-in), is used as ``c / sqrt(c . c + EPSILON)`` with
``c = w - mean(w)``: mean 0 and variance ``1 / n``, but for EPSILON. Nothing of an image takes part. There is no gain: a
normalisation with one has to follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

EPSILON: Final = 1e-5
"""Added to n times the variance of a channel's weights, which is about 1/3 when they are drawn."""


def standardise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The weight ``[O, C / groups, *kernel]`` that is used, and what was divided by, ``[O, 1, ...]``."""
    axes = tuple(range(1, weight.ndim))
    centred = weight - weight.mean(axes, keepdim=True)
    length = (centred.square().sum(axes, keepdim=True) + EPSILON).sqrt()
    return centred / length, length


class StandardisedConv2d(nn.Conv2d):
    """A convolution of images with a standardised weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, O, ...]``."""
        found: Tensor = self._conv_forward(inputs, standardise(self.weight)[0], self.bias)
        return found


class StandardisedConv3d(nn.Conv3d):
    """A convolution of volumes with a standardised weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[B, C, D, H, W]`` to ``[B, O, ...]``."""
        found: Tensor = self._conv_forward(inputs, standardise(self.weight)[0], self.bias)
        return found


KINDS: Final[dict[type[nn.Module], type[StandardisedConv2d | StandardisedConv3d]]] = {
    nn.Conv2d: StandardisedConv2d,
    nn.Conv3d: StandardisedConv3d,
}


def standardise_convolutions(module: nn.Module) -> None:
    """Replace every convolution of images or volumes inside a module, in place; parameters and names stay.

    Raises:
        ValueError: A channel has a single weight, which has no deviation.
    """
    for parent in tuple(module.modules()):
        for name, child in tuple(parent.named_children()):
            if type(child) in KINDS and isinstance(child, nn.Conv2d | nn.Conv3d):
                setattr(parent, name, _standardised(child))


def _standardised(layer: nn.Conv2d | nn.Conv3d) -> nn.Module:
    if layer.weight[0].numel() < 2:
        raise ValueError("a channel with a single weight cannot be standardised")
    new = KINDS[type(layer)](
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        device="meta",
    )
    new.weight, new.bias = layer.weight, layer.bias
    return new.train(layer.training)
