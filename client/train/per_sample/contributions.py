"""What one call of a layer adds to the gradients of one of its parameters.

Most calls hand over one gradient for every unit, and it is kept. Where a weight is large and few
positions meet it (the deep layers of a classifier, linear layers), the gradient of a unit is a
product of two small matrices, ``after^T before``, and writing it out for every unit would cost more
than the rest of the step. Such a product is kept as its factors: the squared norm is
``sum((before before^T) * (after after^T))``, and the weighted sum over the units is the batched
gradient with weighted units. Bu, Wang, Zha and Karypis, Differentially Private Optimization on Large
Model at Small Cost, ICML 2023, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK: Final = 1 << 14
"""Values of each unit that are converted to float64 at a time, so that they stay in the processor's cache."""

GPU_BLOCK: Final = 1 << 20
"""The same on a GPU, where every block costs the start of a kernel."""

MANY: Final = 20
"""How many multiplications of the small matrices cost as much as writing one value of a gradient and reading it."""


class Contribution(ABC):
    """Gradients of one parameter, one for each unit."""

    @abstractmethod
    def squares(self) -> Tensor:
        """Squared norm of each unit's gradient, float64 ``[units]``."""

    @abstractmethod
    def weighted(self, factors: Tensor) -> Tensor:
        """Sum over the units of factor times gradient, float64 or the gradient's type, with the parameter's shape.

        Args:
            factors: ``[units]``, finite; a unit whose factor is 0 takes no part, whatever is in its gradient.
        """

    @abstractmethod
    def written_out(self) -> Tensor:
        """The gradients ``[units, *shape]``."""


class Written(Contribution):
    """Gradients that are kept as they are.

    Args:
        gradients: ``[units, *shape]``.
    """

    def __init__(self, gradients: Tensor) -> None:
        self._gradients = gradients

    def squares(self) -> Tensor:
        """Block by block."""
        rows = self._gradients.reshape(len(self._gradients), -1)
        total = rows.new_zeros(len(rows), dtype=torch.float64)
        for block in torch.split(rows, _block(rows), 1):
            exact = block.double()
            total += torch.linalg.vecdot(exact, exact)
        return total

    def weighted(self, factors: Tensor) -> Tensor:
        """Block by block, in float64."""
        units, *shape = self._gradients.shape
        rows, factors = _taking_part(factors, self._gradients.reshape(units, -1))
        total = rows.new_empty(rows.shape[1], dtype=torch.float64)
        for into, block in zip(torch.split(total, _block(rows)), torch.split(rows, _block(rows), 1), strict=True):
            torch.mv(block.double().t(), factors, out=into)
        return total.view(shape)

    def written_out(self) -> Tensor:
        """As they are."""
        return self._gradients


def _block(rows: Tensor) -> int:
    return BLOCK if rows.device.type == "cpu" else GPU_BLOCK


class Product(Contribution):
    """Gradients that are products of two small matrices for each unit."""

    @abstractmethod
    def before(self) -> Tensor:
        """``[units, rows, inputs]``."""

    @abstractmethod
    def after(self) -> Tensor:
        """``[units, rows, outputs]``."""

    def squares(self) -> Tensor:
        """Through the inner products of the rows, in float64: rounding may not hide what cancels."""
        before, after = self.before().double(), self.after().double()
        return ((before @ before.transpose(1, 2)) * (after @ after.transpose(1, 2))).sum((1, 2)).clamp_min(0)


def worth_a_product(rows: int, inputs: int, outputs: int) -> bool:
    """Whether the products of the rows are cheaper than ``inputs * outputs`` values written out for each unit."""
    return rows * rows * (inputs + outputs) < MANY * inputs * outputs


def _taking_part(factors: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    """The parts' units whose factor is not 0, and their factors last."""
    if bool((factors != 0).all()):
        return *parts, factors
    chosen = factors.nonzero().squeeze(1)
    return *(part[chosen] for part in parts), factors[chosen]


def taking_part(factors: Tensor, units: int, *batches: Tensor) -> tuple[Tensor, ...]:
    """Batches ``[units * copies, ...]`` without the units whose factor is 0, the last one times the factors."""
    parts = [batch.reshape(units, -1, *batch.shape[1:]) for batch in batches]
    *parts, factors = _taking_part(factors, *parts)
    last = parts.pop()
    weights = factors.to(last.dtype).view(-1, *(1,) * (last.ndim - 1))
    return tuple(part.flatten(0, 1) for part in (*parts, last * weights))
