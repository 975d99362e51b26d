"""Group, instance and layer normalisation, and the rectifier with a learnt slope.

With xhat the normalised input and g the gradient of the output, the gradient of a weight is the sum
of g * xhat over what shares it, and that of a bias the sum of g; here within each unit.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from wardround.client.train.per_sample.layers import SimpleLayer, Step, register_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class GroupedNorm(SimpleLayer):
    """Group normalisation, and instance normalisation as one group a channel; ``[N, C, ...]``."""

    precision = "full"

    def refusal(self, module: nn.Module) -> str | None:
        """Running statistics would leave the hospital without noise."""
        return "running statistics are not supported" if getattr(module, "track_running_stats", False) else None

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalise; the means and deviations of the groups, ``[N, groups]``, are kept."""
        del options
        weight, bias = parameters
        count, channels, *size = inputs.shape
        if weight is None or channels != weight.shape[0]:
            raise ValueError(f"{type(module).__name__} was given an input of shape {tuple(inputs.shape)}")
        groups, eps = _groups(module), cast("float", module.eps)
        inputs = inputs.contiguous()
        output, mean, scale = torch.native_group_norm(inputs, weight, bias, count, channels, prod(size), groups, eps)
        return output, (inputs, mean, scale, weight)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One call with the batch folded into the channels: statistics are those of a sample either way."""
        inputs, mean, scale, weight = step.kept
        count, channels, *size = inputs.shape
        of_input, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
            step.gradient.contiguous(),
            inputs,
            mean.view(1, -1),
            scale.view(1, -1),
            weight.expand(count, -1).reshape(-1),
            1,
            count * channels,
            prod(size),
            mean.numel(),
            (step.wants_input, "weight" in step.wanted, "bias" in step.wanted),
        )
        found = {"weight": of_weight, "bias": of_bias}
        return (
            of_input.view_as(inputs) if step.wants_input else None,
            {name: _over_copies(found[name], step.units, channels) for name in step.wanted},
        )


def _over_copies(found: Tensor, units: int, channels: int) -> Tensor:
    """``[units * copies * channels]`` to ``[units, channels]``."""
    if found.numel() == units * channels:
        return found.view(units, channels)
    return found.view(units, -1, channels).sum(1)


def _groups(module: nn.Module) -> int:
    return module.num_groups if isinstance(module, nn.GroupNorm) else cast("int", module.num_features)


class LayerNorm(SimpleLayer):
    """``[N, ..., *normalized_shape]``, weight and bias ``normalized_shape``."""

    precision = "full"

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalise over the last axes."""
        del options
        weight, bias = parameters
        layer = cast("nn.LayerNorm", module)
        output, mean, scale = torch.native_layer_norm(inputs, layer.normalized_shape, weight, bias, layer.eps)
        return output, (inputs, mean, scale, cast("Tensor", weight))

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Input by the batch; weight and bias summed over each unit's rows."""
        inputs, mean, scale, weight = step.kept
        of_input = None
        if step.wants_input:
            of_input = torch.ops.aten.native_layer_norm_backward(
                step.gradient, inputs, list(weight.shape), mean, scale, weight, None, (True, False, False)
            )[0]
        found = {}
        if "weight" in step.wanted:
            found["weight"] = _by_unit(step.gradient * ((inputs - mean) * scale), step.units, weight)
        if "bias" in step.wanted:
            found["bias"] = _by_unit(step.gradient, step.units, weight)
        return of_input, found


def _by_unit(rows: Tensor, units: int, weight: Tensor) -> Tensor:
    return rows.reshape(units, -1, *weight.shape).sum(1)


class PReLU(SimpleLayer):
    """``[N, C, ...]``; one slope, or one for each channel."""

    parameters = ("weight",)
    precision = "input"

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Rectify with a slope."""
        del module, options
        weight = cast("Tensor", parameters[0])
        return torch.prelu(inputs, weight), (inputs, weight)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The slope's gradient is the sum of input times gradient where the input is below 0."""
        inputs, weight = step.kept
        gradient = step.gradient.contiguous() if inputs.is_contiguous() else step.gradient
        of_input = None
        if step.wants_input:
            # Where the input is above 0 both ends are the gradient; elsewhere they are 0 and the gradient. In place,
            # and vectorised on every device, which PyTorch's own backward pass of this layer is not.
            of_input = torch.ops.aten.threshold_backward(gradient, inputs, 0).lerp_(gradient, _spread(weight, inputs))
        found = {}
        if "weight" in step.wanted:
            below = inputs.clamp_max(0).mul_(gradient).reshape(inputs.shape[0], weight.numel(), -1).sum(2)
            found["weight"] = below.view(step.units, -1, weight.numel()).sum(1)
        return of_input, found


def _spread(weight: Tensor, inputs: Tensor) -> Tensor:
    """One slope for all, or ``[C]`` along axis 1."""
    return weight if weight.numel() == 1 else weight.view(-1, *(1,) * (inputs.ndim - 2))


register_layer(nn.GroupNorm, GroupedNorm())
for _kind in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d):
    register_layer(_kind, GroupedNorm())
register_layer(nn.LayerNorm, LayerNorm())
register_layer(nn.PReLU, PReLU())
