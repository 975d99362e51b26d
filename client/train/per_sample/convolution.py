"""Convolutions and transposed convolutions in one, two and three dimensions.

Forward pass and gradient of the input are those of the batch; the gradient of the weight is taken
unit by unit in :mod:`~wardround.client.train.per_sample.weights`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit
from torch import nn

from wardround.client.train.per_sample.layers import SimpleLayer, Sink, Step, register_layer
from wardround.client.train.per_sample.weights import VECTOR, Rule, arrange, few_channels, of_weight, unmistakable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn.modules.conv import _ConvNd

    from wardround.client.train.per_sample.products import Products

SPATIAL: dict[type[nn.Module], int] = {
    nn.Conv1d: 1,
    nn.Conv2d: 2,
    nn.Conv3d: 3,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 2,
    nn.ConvTranspose3d: 3,
}

FEW: Final = VECTOR // 2
"""Output channels below which oneDNN's transposed convolutions take several times as long as a product of matrices."""

_BY_MATRICES: Final = {4: torch.ops.aten.slow_conv_transpose2d, 5: torch.ops.aten.slow_conv_transpose3d}
"""PyTorch's transposed convolutions as products of matrices, by the axes of the input."""


def _convolved(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Output, and what the backward pass needs, arranged once for both passes."""
    inputs, weight = unmistakable(arrange(inputs)), unmistakable(arrange(weight))
    return arrange(torch.ops.aten.convolution(inputs, weight, bias, *settings)), (inputs, weight)


class Convolution(SimpleLayer):
    """``[N, C, *size]`` to ``[N, O, *size]``; weight ``[O, C / groups, *kernel]``, bias ``[O]``."""

    def refusal(self, module: nn.Module) -> str | None:
        """Only zeros may be padded."""
        mode = module.padding_mode
        return None if mode == "zeros" else f"padding_mode {mode!r} is not supported"

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - as in Layer
        """Resolve the padding and record."""
        (inputs,) = (*args, *kwargs.values())
        layer = cast("_ConvNd", module)
        _check_batched(layer, inputs)
        if isinstance(layer.padding, str):
            inputs = F.pad(inputs, _uneven(layer))
        return self.record(module, sink, inputs)

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Convolve."""
        del options
        layer = cast("_ConvNd", module)
        weight, bias = parameters
        weight = cast("Tensor", weight)
        settings = (layer.stride, _padding(layer), layer.dilation, False, layer.output_padding, layer.groups)
        return _convolved(inputs, weight, bias, settings)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor | Products]]:
        """Input by the batch, weight and bias by the unit."""
        return _backward(step, transposed=False, output_padding=(0,) * (step.gradient.ndim - 2))


class TransposedConvolution(SimpleLayer):
    """``[N, C, *size]`` to ``[N, O, *size]``; weight ``[C, O / groups, *kernel]``, bias ``[O]``."""

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - as in Layer
        """Resolve the size of the output and record."""
        return self._call(module, sink, *args, **kwargs)

    def _call(self, module: nn.Module, sink: Sink, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
        layer = cast("Any", module)
        _check_batched(layer, inputs)
        extra = layer._output_padding(  # noqa: SLF001 - the layer's own rule for output_size
            inputs, output_size, layer.stride, layer.padding, layer.kernel_size, inputs.ndim - 2, layer.dilation
        )
        return self.record(module, sink, inputs, tuple(extra))

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Convolve, transposed."""
        layer = cast("_ConvNd", module)
        weight, bias = parameters
        weight = cast("Tensor", weight)
        by_matrices = _BY_MATRICES.get(inputs.ndim)
        if by_matrices is not None and inputs.device.type == "cpu" and layer.groups == 1 and weight.shape[1] < FEW:
            inputs, weight = arrange(inputs), arrange(weight)
            size, rule = weight.shape[2:], (layer.stride, layer.padding, options[0], layer.dilation)
            return by_matrices(inputs, weight, size, bias, *rule), (inputs, weight)
        settings = (layer.stride, layer.padding, layer.dilation, True, options[0], layer.groups)
        return _convolved(inputs, weight, bias, settings)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor | Products]]:
        """Input by the batch, weight and bias by the unit."""
        return _backward(step, transposed=True, output_padding=_added(step))


def _backward(
    step: Step, *, transposed: bool, output_padding: tuple[int, ...]
) -> tuple[Tensor | None, dict[str, Tensor | Products]]:
    layer = cast("_ConvNd", step.module)
    inputs, weight = step.kept
    rule = Rule(layer.stride, _padding(layer), layer.dilation, transposed, output_padding)
    found: dict[str, Tensor | Products] = {}
    if "weight" in step.wanted:
        found["weight"] = of_weight(inputs, step.gradient, weight, step.units, rule=rule, groups=layer.groups)
    if "bias" in step.wanted:
        found["bias"] = step.gradient.flatten(2).sum(2).view(step.units, -1, step.gradient.shape[1]).sum(1)
    return _of_input(step, rule) if step.wants_input else None, found


def _of_input(step: Step, rule: Rule) -> Tensor:
    inputs, weight = step.kept
    groups = cast("_ConvNd", step.module).groups
    if groups == 1 and inputs.ndim == 4 and _of_single_pixels(weight, rule):
        kernel = weight.flatten(1).t().expand(len(inputs), -1, -1)
        return torch.bmm(kernel, step.gradient.flatten(2)).view(inputs.shape)
    last = few_channels(weight, groups)
    found: Tensor = torch.ops.aten.convolution_backward(
        arrange(step.gradient, last=last),
        inputs,
        arrange(weight, last=last),
        None,
        *rule,
        groups,
        (True, False, False),
    )[0]
    return arrange(found)


def _of_single_pixels(weight: Tensor, rule: Rule) -> bool:
    """Whether every pixel of the output is of one of the input: a product of matrices for every image."""
    if weight.device.type != "cpu" or min(weight.shape[:2]) < VECTOR:
        return False
    sizes = (*weight.shape[2:], *rule.stride)
    return all(size == 1 for size in sizes) and not any(rule.padding) and not rule.transposed


def _padding(layer: _ConvNd) -> tuple[int, ...]:
    """Zeros on both sides of each axis."""
    if isinstance(layer.padding, str):
        return tuple(before for before, _ in _zeros(layer))
    return layer.padding


def _zeros(layer: _ConvNd) -> list[tuple[int, int]]:
    """Zeros before and after each axis that ``padding="same"`` or ``"valid"`` stands for."""
    if layer.padding == "valid":
        return [(0, 0)] * len(layer.kernel_size)
    total = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [(zeros // 2, zeros - zeros // 2) for zeros in total]


def _uneven(layer: _ConvNd) -> list[int]:
    """What must be padded first, as :func:`torch.nn.functional.pad` takes it: the last axis first."""
    return [zeros for before, after in reversed(_zeros(layer)) for zeros in (0, after - before)]


def _added(step: Step) -> tuple[int, ...]:
    """The output padding with which the input gave an output of this size."""
    layer = cast("_ConvNd", step.module)
    inputs, _ = step.kept
    return tuple(
        size - ((before - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
        for size, before, stride, padding, dilation, kernel in zip(
            step.gradient.shape[2:],
            inputs.shape[2:],
            layer.stride,
            cast("tuple[int, ...]", layer.padding),
            layer.dilation,
            layer.kernel_size,
            strict=True,
        )
    )


def _check_batched(layer: nn.Module, inputs: Tensor) -> None:
    if inputs.ndim != SPATIAL[type(layer)] + 2:
        raise ValueError(f"{type(layer).__name__} was given {inputs.ndim} axes, so its input is no batch")


for _kind in SPATIAL:
    register_layer(_kind, TransposedConvolution() if "Transpose" in _kind.__name__ else Convolution())
