"""What the calls of a layer give for one of its parameters: one gradient for every unit, as it will be added.

The norm that a unit is clipped by is taken of the very numbers that the sum adds. A norm by another way, such as
through the inner products of a layer's two sides, is faster for large weights and equal in exact arithmetic; but
weights that a coordinator chooses can make the two differ without bound, and then clipping bounds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK: Final = 1 << 14
"""Values of each unit that are converted to float64 at a time, so that they stay in the processor's cache."""

GPU_BLOCK: Final = 1 << 20
"""The same on a GPU, where every block costs the start of a kernel."""


def squares(gradients: Tensor) -> Tensor:
    """Squared norm of each unit's gradient, float64 ``[units]``, block by block.

    Args:
        gradients: ``[units, *shape]``.
    """
    rows = gradients.reshape(len(gradients), -1)
    total = rows.new_zeros(len(rows), dtype=torch.float64)
    for block in torch.split(rows, _block(rows), 1):
        exact = block.double()
        total += torch.linalg.vecdot(exact, exact)
    return total


def weighted(gradients: Tensor, factors: Tensor) -> Tensor:
    """Sum over the units of factor times gradient, float64 with the parameter's shape, block by block.

    Args:
        gradients: ``[units, *shape]``.
        factors: ``[units]``, finite; a unit whose factor is 0 takes no part, whatever is in its gradient.
    """
    units, *shape = gradients.shape
    rows = gradients.reshape(units, -1)
    if not bool((factors != 0).all()):
        chosen = factors.nonzero().squeeze(1)
        rows, factors = rows[chosen], factors[chosen]
    total = rows.new_empty(rows.shape[1], dtype=torch.float64)
    for into, block in zip(torch.split(total, _block(rows)), torch.split(rows, _block(rows), 1), strict=True):
        torch.mv(block.double().t(), factors, out=into)
    return total.view(shape)


def _block(rows: Tensor) -> int:
    return BLOCK if rows.device.type == "cpu" else GPU_BLOCK
