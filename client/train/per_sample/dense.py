"""Linear layers and embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from wardround.client.train.per_sample.layers import SimpleLayer, Sink, Step, register_layer
from wardround.client.train.per_sample.products import Products, suit_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Linear(SimpleLayer):
    """``[N, ..., C]`` to ``[N, ..., O]``; weight ``[O, C]``, bias ``[O]``.

    One product of matrices of one shape for every unit: the product of the whole batch may add up in another order at
    its edges, and a unit's numbers must not depend on its place.
    """

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - as in Layer
        """Tell the forward pass how many units there are."""
        (inputs,) = (*args, *kwargs.values())
        return self.record(module, sink, inputs, sink.units)

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Multiply and add."""
        del module
        (units,) = options
        weight, bias = parameters
        weight = cast("Tensor", weight)
        output = _times(inputs, weight.t(), units)
        return output if bias is None else output + bias, (inputs, weight)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor | Products]]:
        """Input by the batch; the weight is one matrix product for every unit."""
        inputs, weight = step.kept
        of_input = _times(step.gradient, weight, step.units) if step.wants_input else None
        after = step.gradient.reshape(step.units, -1, weight.shape[0])
        found: dict[str, Tensor | Products] = {}
        if "weight" in step.wanted:
            before = inputs.reshape(step.units, -1, weight.shape[1])
            left, (outputs, own) = after.transpose(1, 2), weight.shape
            small = suit_products(step.units, outputs, own, after.shape[1], weight.device)
            found["weight"] = Products.of(left, before.transpose(1, 2)) if small else left @ before
        if "bias" in step.wanted:
            found["bias"] = after.sum(1)
        return of_input, found


def _times(batch: Tensor, matrix: Tensor, units: int) -> Tensor:
    """``[N, ..., C]`` times ``[C, O]``, unit by unit."""
    rows = batch.reshape(units, -1, matrix.shape[0])
    return torch.bmm(rows, matrix.expand(units, *matrix.shape)).view(*batch.shape[:-1], matrix.shape[1])


class Embedding(SimpleLayer):
    """Indices ``[N, ...]`` to ``[N, ..., D]``; weight ``[rows, D]``."""

    parameters = ("weight",)
    precision = "input"

    def refusal(self, module: nn.Module) -> str | None:
        """What changes weights in the forward pass or counts over the batch is refused."""
        layer = cast("nn.Embedding", module)
        if layer.max_norm is not None:
            return "max_norm is not supported"
        if layer.scale_grad_by_freq or layer.sparse:
            return "scale_grad_by_freq and sparse are not supported"
        return None

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Look rows up."""
        del module, options
        return F.embedding(inputs, cast("Tensor", parameters[0])), (inputs,)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Every unit adds into rows of its own."""
        layer = cast("nn.Embedding", step.module)
        (inputs,) = step.kept
        rows = layer.num_embeddings
        index = inputs.reshape(step.units, -1) + rows * torch.arange(step.units, device=inputs.device).unsqueeze(1)
        after = step.gradient.reshape(-1, layer.embedding_dim)
        found = after.new_zeros(step.units * rows, layer.embedding_dim).index_add_(0, index.reshape(-1), after)
        found = found.view(step.units, rows, -1)
        if layer.padding_idx is not None:
            found[:, layer.padding_idx] = 0
        return None, {"weight": found}


register_layer(nn.Linear, Linear())
register_layer(NonDynamicallyQuantizableLinear, Linear())
register_layer(nn.Embedding, Embedding())
