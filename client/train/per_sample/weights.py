"""The gradient of a convolution's weight, unit by unit.

Units are folded into the groups of one convolution: ``units`` samples of C channels become one of
``units * C`` channels in ``units`` times as many groups, and the gradient of that convolution's
weight ``[units * O, C / groups, *kernel]`` holds one gradient for every unit. That takes the
multiplications of the batched gradient, and nothing is unfolded. Only where very few positions meet
a large weight, so that writing its gradient out for every unit is what takes the time, is the input
unfolded, which is small there, and the gradients stay products
(:mod:`~wardround.client.train.per_sample.contributions`).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

from wardround.client.train.per_sample.contributions import Product, taking_part, worth_a_product

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


class ConvolutionProduct(Product):
    """Gradients of one call's weight.

    Args:
        inputs: ``[units * copies, C, *size]``.
        gradient: Of the output, ``[units * copies, O, *size]``.
        weight: As the layer has it; only its shape is read.
        units: Of the batch.
        rule: Of the layer.
        groups: Of the layer.
    """

    def __init__(  # noqa: PLR0917 - all of them say which gradient is meant
        self, inputs: Tensor, gradient: Tensor, weight: Tensor, units: int, rule: Rule, groups: int
    ) -> None:
        self._inputs, self._gradient = inputs, gradient
        self._shape = tuple(weight.shape)
        self._units, self._rule, self._groups = units, rule, groups
        self._last = few_channels(weight, groups)

    def worthwhile(self) -> bool:
        """Whether the gradients should stay a product."""
        rows = self._one_side().shape[0] // self._units * prod(self._one_side().shape[2:])
        return self._groups == 1 and worth_a_product(rows, prod(self._shape[1:]), self._shape[0])

    def before(self) -> Tensor:
        """What each value of the kernel meets, ``[units, rows, channels * kernel]``."""
        other, rule = (self._gradient if self._rule.transposed else self._inputs), self._rule
        padded = F.pad(other, [zeros for zeros in reversed(rule.padding) for _ in range(2)])
        sizes, strides = self._one_side().shape[2:], padded.stride()[2:]
        windows = padded.as_strided(
            (*padded.shape[:2], *self._shape[2:], *sizes),
            (
                *padded.stride()[:2],
                *(stride * step for stride, step in zip(strides, rule.dilation, strict=True)),
                *(stride * step for stride, step in zip(strides, rule.stride, strict=True)),
            ),
        )
        return _rows(windows.reshape(len(padded), -1, prod(sizes)), self._units)

    def after(self) -> Tensor:
        """The side that meets the kernel as a whole, ``[units, rows, channels]``."""
        return _rows(self._one_side().flatten(2), self._units)

    def weighted(self, factors: Tensor) -> Tensor:
        """The batched gradient of weighted units, in float32 at least."""
        exact = torch.promote_types(self._gradient.dtype, torch.float32)
        inputs, gradient = taking_part(factors, self._units, self._inputs.to(exact), self._gradient.to(exact))
        return self._of_batch(inputs, gradient, self._shape, self._groups)

    def written_out(self) -> Tensor:
        """Units folded into groups."""
        units, (first, *rest) = self._units, self._shape
        inputs, gradient = fold(self._inputs, units), fold(self._gradient, units)
        found = self._of_batch(inputs, gradient, (units * first, *rest), units * self._groups)
        return found.reshape(units, *self._shape)

    def _of_batch(self, inputs: Tensor, gradient: Tensor, shape: tuple[int, ...], groups: int) -> Tensor:
        found: Tensor = torch.ops.aten.convolution_backward(
            arrange(gradient, last=self._last),
            arrange(inputs, last=self._last),
            gradient.new_empty(1).expand(shape),  # only its shape is read
            None,
            *self._rule,
            groups,
            (False, True, False),
        )[1]
        return found

    def _one_side(self) -> Tensor:
        return self._inputs if self._rule.transposed else self._gradient


def _rows(batch: Tensor, units: int) -> Tensor:
    """``[units * copies, channels, positions]`` to ``[units, copies * positions, channels]``."""
    return batch.reshape(units, -1, *batch.shape[1:]).transpose(2, 3).flatten(1, 2)


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
