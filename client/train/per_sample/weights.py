"""The gradient of a convolution's weight, unit by unit; either way takes the multiplications of the batched gradient.

* By groups: ``units`` samples of C channels become one of ``units * C`` channels in ``units`` times as many groups,
  and the gradient of that convolution's weight ``[units * O, C / groups, *kernel]`` holds one gradient for every unit.
  Nothing is unfolded.
* By matrices, where an image has few positions left, or where nothing has to be unfolded: the gradient of the output
  times the patches of the input, one product of matrices for every unit. Grouped kernels are several times slower
  there, and the patches are smaller than the gradients that are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

if TYPE_CHECKING:
    from torch import Tensor

VECTOR: Final = 16
"""Channels that oneDNN handles at a time; with fewer, its kernels for contiguous tensors are several times slower."""

FEW_POSITIONS: Final = 32
"""Positions of a unit's output, copies included, up to which patches are unfolded."""


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
    if groups == 1 and not rule.transposed and _suits_matrices(gradient, weight, units, rule):
        return _by_matrices(inputs, gradient, weight, units, rule)
    first, *rest = weight.shape
    last = few_channels(weight, groups) and not _of_one_plane(weight, groups)
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


def _suits_matrices(gradient: Tensor, weight: Tensor, units: int, rule: Rule) -> bool:
    if all(size == 1 for size in weight.shape[2:]):
        return not any(rule.padding)
    positions = gradient[0, 0].numel() * (gradient.shape[0] // units)
    return gradient.ndim == 4 and positions <= FEW_POSITIONS  # patches are unfolded in two dimensions only


def _by_matrices(inputs: Tensor, gradient: Tensor, weight: Tensor, units: int, rule: Rule) -> Tensor:
    if all(size == 1 for size in weight.shape[2:]):
        every = tuple(slice(None, None, stride) for stride in (1, 1, *rule.stride))
        patches = inputs[every].flatten(2)
    else:
        patches = F.unfold(inputs, weight.shape[2:], rule.dilation, rule.padding, rule.stride)
    found = torch.bmm(_positions(gradient.flatten(2), units), _positions(patches, units).transpose(1, 2))
    return found.view(units, *weight.shape)


def _positions(batch: Tensor, units: int) -> Tensor:
    """``[units * copies, C, L]`` to ``[units, C, copies * L]``; without copies, a view."""
    if batch.shape[0] == units:
        return batch
    return batch.view(units, -1, *batch.shape[1:]).transpose(1, 2).flatten(2)


def fold(batch: Tensor, units: int) -> Tensor:
    """``[units * copies, C, *size]`` to ``[copies, units * C, *size]``; without copies, a view."""
    if batch.shape[0] == units:
        return batch.reshape(1, -1, *batch.shape[2:])
    return batch.reshape(units, -1, *batch.shape[1:]).transpose(0, 1).flatten(1, 2)


def few_channels(weight: Tensor, groups: int) -> bool:
    """Whether contiguous tensors would be slow."""
    return min(weight.shape[0] // groups, weight.shape[1]) < VECTOR


def _of_one_plane(weight: Tensor, groups: int) -> bool:
    """Whether images have one channel: there the kernels for contiguous tensors are the faster ones after all."""
    return groups == 1 and weight.ndim == 4 and weight.shape[1] == 1


def arrange(tensor: Tensor, *, last: bool = False) -> Tensor:
    """On a processor, put images and volumes into contiguous or channels-last memory; on a GPU leave them alone."""
    if tensor.device.type != "cpu" or tensor.ndim not in {4, 5}:
        return tensor
    if not last:
        return tensor.contiguous()
    return tensor.contiguous(memory_format=torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d)


def unmistakable(tensor: Tensor) -> Tensor:
    """A view with the strides of contiguous memory, where an axis of one value lets others count as contiguous, too.

    PyTorch goes by the strides, and would answer a channels-last weight of a 1 x 1 kernel with a channels-last output.
    """
    return tensor.view(-1).view(tensor.shape) if tensor.device.type == "cpu" and tensor.is_contiguous() else tensor
