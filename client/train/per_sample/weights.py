"""The gradient of a convolution's weight, unit by unit; either way takes the multiplications of the batched gradient.

* By groups: ``units`` samples of C channels become one of ``units * C`` channels in ``units`` times as many groups,
  and the gradient of that convolution's weight ``[units * O, C / groups, *kernel]`` holds one gradient for every unit.
  Nothing is unfolded.
* By matrices, where an image has few positions left, or where nothing has to be unfolded: the gradient of the output
  times the patches of the input, one product of matrices for every unit. Grouped kernels are several times slower
  there, and the patches are smaller than the gradients that are asked for. Where they are much smaller the product is
  not multiplied out (:mod:`~wardround.client.train.per_sample.products`).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

from wardround.client.train.per_sample.products import Products, suit_products

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def of_weight(
    inputs: Tensor, gradient: Tensor, weight: Tensor, units: int, *, rule: Rule, groups: int
) -> Tensor | Products:
    """One gradient for every unit, ``[units, *shape]`` or as products.

    Args:
        inputs: ``[units * copies, C, *size]``.
        gradient: Of the output, ``[units * copies, O, *size]``.
        weight: As the layer has it; only its shape is read.
        units: Of the batch.
        rule: Of the layer.
        groups: Of the layer.
    """
    if groups == 1 and not rule.transposed:
        positions = gradient[0, 0].numel() * (len(gradient) // units)
        small = suit_products(units, len(weight), weight[0].numel(), positions, weight.device)
        if _of_one_value(weight) and not any(rule.padding):
            every = tuple(slice(None, None, stride) for stride in (1, 1, *rule.stride))
            sides = _positions(gradient.flatten(2), units), _positions(inputs[every].flatten(2), units)
            return Products.of(*sides) if small else _multiplied(*sides, weight)
        if gradient.ndim == 4 and small:
            return _of_patches(inputs, gradient, weight, units, rule)
        if gradient.ndim == 4 and positions <= FEW_POSITIONS:  # patches are unfolded in two dimensions only
            patches = F.unfold(inputs, weight.shape[2:], rule.dilation, rule.padding, rule.stride)
            return _multiplied(_positions(gradient.flatten(2), units), _positions(patches, units), weight)
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


def _of_one_value(weight: Tensor) -> bool:
    """Whether the kernel has one value."""
    return all(size == 1 for size in weight.shape[2:])


def _multiplied(left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """``[units, O, K]`` times ``[units, I, K]`` as ``[units, *shape]``."""
    return torch.bmm(left, right.transpose(1, 2)).view(len(left), *weight.shape)


def _of_patches(inputs: Tensor, gradient: Tensor, weight: Tensor, units: int, rule: Rule) -> Products:
    """Products of a convolution in two dimensions, from its patches and their inner products.

    The inner product of the patches that two outputs see is the sum of those of the pixels under each value of the
    kernel: inner products of pixels are enough, unless a stride leaves many more pixels than patches.
    """
    left = _positions(gradient.flatten(2), units).double()
    rows, columns = rule.padding
    # [units, copies, C, H, W]
    pixels = F.pad(inputs, (columns, columns, rows, rows)).view(units, -1, *inputs.shape[1:2], *_padded(inputs, rule))
    right = _patches(pixels, weight, gradient.shape[2:], rule)
    if (pixels.numel() // (units * inputs.shape[1])) ** 2 <= weight[0, 0].numel() * left.shape[2] ** 2:
        return Products(left, right, _between_patches(pixels, weight, gradient.shape[2:], rule), gradient.dtype)
    wide = right.permute(2, 0, 1).contiguous()
    return Products(left, right, torch.bmm(wide.transpose(1, 2), wide), gradient.dtype)


def _padded(inputs: Tensor, rule: Rule) -> tuple[int, ...]:
    return tuple(size + 2 * zeros for size, zeros in zip(inputs.shape[2:], rule.padding, strict=True))


def _patches(pixels: Tensor, weight: Tensor, positions: torch.Size, rule: Rule) -> Tensor:
    """What every value of a kernel meets, float64 ``[C * kernel, copies * positions, units]``, in one copy."""
    last = pixels.permute(2, 1, 3, 4, 0).contiguous().double()  # units side by side: what is copied lies together
    of_channel, of_copy, *of_axis, of_unit = last.stride()
    shape = (len(last), *weight.shape[2:], pixels.shape[1], *positions, len(pixels))
    strides = (of_channel, *_each(of_axis, rule.dilation), of_copy, *_each(of_axis, rule.stride), of_unit)
    return last.as_strided(shape, strides).reshape(weight[0].numel(), -1, len(pixels))


def _each(strides: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    return tuple(stride * step for stride, step in zip(strides, steps, strict=True))


def _between_patches(pixels: Tensor, weight: Tensor, positions: torch.Size, rule: Rule) -> Tensor:
    """Inner products of a unit's patches, float64 ``[units, K, K]``, from those of its pixels."""
    units, copies, channels, *size = pixels.shape
    flat = pixels.transpose(1, 2).reshape(units, channels, -1).double()
    between = torch.bmm(flat.transpose(1, 2), flat).view(units, copies, *size, copies, *size)
    found = between.new_zeros(units, copies, *positions, copies, *positions)
    for at in product(*map(range, weight.shape[2:])):
        rows, columns = _seen_by(at, rule, positions)
        found += between[:, :, rows, columns, :, rows, columns]
    return found.view(units, *[copies * positions.numel()] * 2)


def _seen_by(at: tuple[int, ...], rule: Rule, positions: torch.Size) -> Iterator[slice]:
    """The pixels that the kernel's value at a place meets, along each axis."""
    for own, far, step, many in zip(at, rule.dilation, rule.stride, positions, strict=True):
        yield slice(own * far, own * far + step * (many - 1) + 1, step)


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
