"""Maximum pooling, which has no parameters: it is here for its speed alone.

PyTorch pools images in contiguous memory value by value, and in channels-last memory with vectorised operations: an
eighth of the time, with the memory rearranged before and after it. Values, and which place each comes from, are the
same either way.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from wardround.client.train.per_sample.layers import SimpleLayer, Sink, Step, register_layer
from wardround.client.train.per_sample.weights import arrange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class MaxPooling(SimpleLayer):
    """``[N, C, H, W]`` on a processor; everything else is left to PyTorch."""

    parameters = ()
    precision = "input"

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in Layer
        """Take over where it is faster."""
        (inputs,) = (*args, *kwargs.values())
        pool = cast("nn.MaxPool2d", module)
        images = inputs.ndim == 4 and inputs.is_floating_point() and len(inputs) % sink.units == 0
        if images and inputs.device.type == "cpu" and not pool.return_indices:
            return self.record(module, sink, inputs)
        return nn.MaxPool2d.forward(pool, inputs)

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Pool; the input is kept for its shape, and the place of every value."""
        del parameters, options
        found, places = torch.ops.aten.max_pool2d_with_indices(arrange(inputs, last=True), *_rule(module))
        return arrange(found), (arrange(inputs), arrange(places))

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Every value's gradient goes to its place."""
        inputs, places = step.kept
        if not step.wants_input:
            return None, {}
        of_input: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            arrange(step.gradient), inputs, *_rule(step.module), places
        )
        return of_input, {}


def _rule(module: nn.Module) -> tuple[Any, ...]:
    pool = cast("nn.MaxPool2d", module)
    axes: tuple[Any, ...] = (pool.kernel_size, pool.stride or pool.kernel_size, pool.padding, pool.dilation)
    return (*([value, value] if isinstance(value, Integral) else list(value) for value in axes), pool.ceil_mode)


register_layer(nn.MaxPool2d, MaxPooling())
