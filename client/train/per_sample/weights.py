"""The gradient of a convolution's weight, unit by unit.

Units are folded into the groups of one convolution: ``units`` samples of C channels become one of
``units * C`` channels in ``units`` times as many groups, and the gradient of that convolution's
weight ``[units * O, C / groups, *kernel]`` holds one gradient for every unit. That takes the
multiplications of the batched gradient, and nothing is unfolded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

VECTOR: Final = 16
"""Channels that oneDNN handles at a time; with fewer, its kernels for contiguous tensors are several times slower."""


class Rule(NamedTuple):
    """How a convolution moves its kernel, in the order in which PyTorch's operators take it.

    Attributes:
        stride: Of each spatial axis, like all that follow.
        padding: Zeros on both sides.
        dilation: Distance of the kernel's values.
        transposed: Whether it is the transposed convolution.
        output_padding: What a transposed convolution adds to the size of its output.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]


def of_weight(inputs: Tensor, gradient: Tensor, weight: Tensor, units: int, *, rule: Rule, groups: int) -> Tensor:
    """One gradient for every unit, ``[units, *shape]``.

    Args:
        inputs: ``[units * copies, C, *size]``.
        gradient: Of the output, ``[units * copies, O, *size]``.
        weight: As the layer has it; only its shape is read.
        units: Of the batch.
        rule: Of the layer.
        groups: Of the layer.
    """
    first, *rest = weight.shape
    last = few_channels(weight, groups)
    found: Tensor = torch.ops.aten.convolution_backward(
        arrange(fold(gradient, units), last=last),
        arrange(fold(inputs, units), last=last),
        gradient.new_empty(1).expand(units * first, *rest),  # only its shape is read
        None,
        *rule,
        units * groups,
        (False, True, False),
    )[1]
    return found.reshape(units, *weight.shape)


def fold(batch: Tensor, units: int) -> Tensor:
    """``[units * copies, C, *size]`` to ``[copies, units * C, *size]``; without copies, a view."""
    if batch.shape[0] == units:
        return batch.reshape(1, -1, *batch.shape[2:])
    return batch.reshape(units, -1, *batch.shape[1:]).transpose(0, 1).flatten(1, 2)


def few_channels(weight: Tensor, groups: int) -> bool:
    """Whether contiguous tensors would be slow."""
    return min(weight.shape[0] // groups, weight.shape[1]) < VECTOR


def arrange(tensor: Tensor, *, last: bool = False) -> Tensor:
    """On a processor, put images and volumes into contiguous or channels-last memory; on a GPU leave them alone."""
    if tensor.device.type != "cpu" or tensor.ndim not in {4, 5}:
        return tensor
    if not last:
        return tensor.contiguous()
    return tensor.contiguous(memory_format=torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d)
