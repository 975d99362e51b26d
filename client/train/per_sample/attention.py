"""Multi-head attention (Vaswani et al., Attention Is All You Need, NeurIPS 2017): linear layers around a product.

Scaled dot-product attention has no parameters and stays with automatic differentiation; the output
projection is a layer of its own inside PyTorch's module and records by itself.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit
from torch import nn

from wardround.client.train.per_sample.layers import Layer, SimpleLayer, Sink, Step, register_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Projection(SimpleLayer):
    """Input ``[N, L, E]`` to queries, keys and values ``[N, L, 3 E]``, or to one of the three ``[N, L, E]``.

    Args:
        part: 0, 1 or 2; None gives all three, where they come from one input.
    """

    parameters = ("in_proj_weight", "in_proj_bias")

    def __init__(self, part: int | None) -> None:
        self._part = part

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Multiply with the part's rows."""
        del module, options
        weight, bias = parameters
        rows = self._rows(cast("Tensor", weight))
        weight = cast("Tensor", weight)[rows]
        return F.linear(inputs, weight, None if bias is None else bias[rows]), (inputs, weight)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor]]:
        """As a linear layer; rows of the other parts have no gradient from here."""
        inputs, weight = step.kept
        layer = cast("nn.MultiheadAttention", step.module)
        whole = cast("Tensor", layer.in_proj_weight)
        after = step.gradient.reshape(step.units, -1, len(weight))
        found = {}
        if "in_proj_weight" in step.wanted:
            found["in_proj_weight"] = after.new_zeros(step.units, *whole.shape)
            before = inputs.reshape(step.units, -1, layer.embed_dim)
            found["in_proj_weight"][:, self._rows(whole)] = after.transpose(1, 2) @ before
        if "in_proj_bias" in step.wanted:
            found["in_proj_bias"] = after.new_zeros(step.units, len(whole))
            found["in_proj_bias"][:, self._rows(whole)] = after.sum(1)
        return step.gradient @ weight if step.wants_input else None, found

    def _rows(self, weight: Tensor) -> slice:
        size = len(weight) // 3
        return slice(None) if self._part is None else slice(self._part * size, (self._part + 1) * size)


TOGETHER, QUERY, KEY, VALUE = Projection(None), Projection(0), Projection(1), Projection(2)


class Attention(Layer):
    """:class:`torch.nn.MultiheadAttention` with ``batch_first``, query, key and value of one size."""

    parameters = ("in_proj_weight", "in_proj_bias")

    def refusal(self, module: nn.Module) -> str | None:
        """The batch must come first; what few models use is refused."""
        layer = cast("nn.MultiheadAttention", module)
        if not layer.batch_first:
            return "batch_first must be True"
        if layer.add_zero_attn:
            return "add_zero_attn is not supported"
        return None

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in Layer
        """Project, attend, project."""
        return self._call(cast("nn.MultiheadAttention", module), sink, *args, **kwargs)

    def _call(  # noqa: PLR0917 - PyTorch's own arguments
        self,
        layer: nn.MultiheadAttention,
        sink: Sink,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002 - PyTorch's own arguments
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002
        is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[Tensor, Tensor | None]:
        if query.ndim != 3 or (is_causal and attn_mask is None):
            raise ValueError("attention needs a batch, and a mask where it is causal")
        mask = _mask(attn_mask, key_padding_mask, query, layer.num_heads)
        first, second, third = (_heads(part, layer.num_heads) for part in _projected(layer, sink, query, key, value))
        dropout = layer.dropout if layer.training else 0.0
        attended, weights = _attend(first, second, third, mask, dropout=dropout, weigh=need_weights)
        output: Tensor = layer.out_proj(attended.transpose(1, 2).flatten(2))
        return output, weights.mean(1) if weights is not None and average_attn_weights else weights


def _projected(
    layer: nn.Module, sink: Sink, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if query is key and key is value:
        first, second, third = TOGETHER.record(layer, sink, query).chunk(3, dim=-1)
        return first, second, third
    return QUERY.record(layer, sink, query), KEY.record(layer, sink, key), VALUE.record(layer, sink, value)


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """``[N, L, E]`` to ``[N, heads, L, E / heads]``."""
    return tokens.reshape(*tokens.shape[:2], heads, -1).transpose(1, 2)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float, weigh: bool
) -> tuple[Tensor, Tensor | None]:
    """What each token takes from the others ``[N, heads, L, E / heads]``, and the weights if they are asked for."""
    if not weigh:
        return F.scaled_dot_product_attention(query, key, value, mask, dropout), None
    logits = query @ key.transpose(2, 3) / sqrt(query.shape[-1])
    weights = F.dropout((logits if mask is None else logits + mask).softmax(-1), dropout)
    return weights @ value, weights


def _mask(attention: Tensor | None, padding: Tensor | None, query: Tensor, heads: int) -> Tensor | None:
    """Both masks as what is added to the logits, ``[N or 1, heads or 1, L or 1, S]``; True means not to attend."""
    parts = []
    if attention is not None:
        added = _added(attention, query)
        parts.append(added if added.ndim == 2 else added.reshape(-1, heads, *added.shape[1:]))
    if padding is not None:
        parts.append(_added(padding, query)[:, None, None])
    return sum(parts[1:], parts[0]) if parts else None


def _added(mask: Tensor, query: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(mask, float("-inf"))


register_layer(nn.MultiheadAttention, Attention())
