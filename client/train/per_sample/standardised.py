"""Convolutions with standardised weights (:mod:`wardround.common.models.standardised`).

The convolution gives every unit's gradient ``g`` of the weight that is used, ``v = c / s``. Of the weight that is
trained it is, for each output channel of n values, the transposed Jacobian of the standardisation:
``(g - v (v . g) - mean(g)) / s``, with ``mean(v) = 0``. The same for every unit, and no unit's gradient takes part in
another's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from wardround.client.train.per_sample.convolution import SPATIAL, Convolution
from wardround.client.train.per_sample.layers import register_layer
from wardround.client.train.per_sample.products import Products
from wardround.common.models.standardised import StandardisedConv2d, StandardisedConv3d, standardise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from wardround.client.train.per_sample.layers import Step


class StandardisedConvolution(Convolution):
    """``[N, C, *size]`` to ``[N, O, *size]``; weight ``[O, C / groups, *kernel]``, bias ``[O]``."""

    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Standardise and convolve."""
        weight, bias = parameters
        used, length = standardise(cast("Tensor", weight))
        output, kept = super().forward(module, inputs, (used, bias), *options)
        return output, (*kept, length)

    def backward(self, step: Step) -> tuple[Tensor | None, dict[str, Tensor | Products]]:
        """As the convolution; then back through the standardisation."""
        inputs, used, length = step.kept
        of_input, found = super().backward(replace(step, kept=(inputs, used)))
        if "weight" in found:
            weight = found["weight"]
            if isinstance(weight, Products):
                weight = weight.whole().view(step.units, *used.shape)
            found["weight"] = pulled_back(weight, used, length)
        return of_input, found


def pulled_back(gradients: Tensor, used: Tensor, length: Tensor) -> Tensor:
    """Gradients of the weight that is trained, ``[units, *shape]``, from those of the one that is used.

    Args:
        gradients: ``[units, *shape]``; overwritten.
        used: ``[O, C / groups, *kernel]``.
        length: ``[O, 1, ...]``.
    """
    rows, directions = gradients.flatten(2), used.flatten(1)  # [units, O, n] and [O, n]
    along = (rows * directions).sum(2, keepdim=True)  # not by products of matrices: a unit's place would matter
    mean = rows.mean(2, keepdim=True)
    rows = rows.sub_(mean).sub_(along * directions).div_(length.view(1, -1, 1))
    return rows.view(gradients.shape)


for _kind, _axes in ((StandardisedConv2d, 2), (StandardisedConv3d, 3)):
    SPATIAL[_kind] = _axes
    register_layer(_kind, StandardisedConvolution())
