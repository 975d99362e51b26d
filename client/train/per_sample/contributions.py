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

SUMMED: Final = 512
"""Squares that are summed in float32 at a time: all of them are positive, so that the sum is good to 2^-15."""

BLOCK: Final = 1 << 14
"""Values of each unit that are converted to float64 at a time, so that they stay in the processor's cache."""

GPU_BLOCK: Final = 1 << 20
"""The same on a GPU, where every block costs the start of a kernel."""


def squares(gradients: Tensor) -> Tensor:
    """Squared norm of each unit's gradient, float64 ``[units]``.

    Sums of ``SUMMED`` squares in the gradients' type, float32 at least, and their sum in float64: together good to
    2^-14 in float32, however they are added up.

    Args:
        gradients: ``[units, *shape]``.
    """
    rows = gradients.reshape(len(gradients), -1)
    if rows.dtype not in {torch.float32, torch.float64}:
        rows = rows.float()
    whole = rows.shape[1] // SUMMED * SUMMED
    norms: Tensor = torch.linalg.vector_norm(rows[:, :whole].view(len(rows), whole // SUMMED, SUMMED), dim=2)
    rest: Tensor = torch.linalg.vector_norm(rows[:, whole:], dim=1)
    return norms.double().square().sum(1) + rest.double().square()


def add_weighted(gradients: Tensor, factors: Tensor, total: Tensor) -> None:
    """Add to ``total`` the sum over the units of factor times gradient, in float64, block by block.

    Args:
        gradients: ``[units, *shape]``.
        factors: ``[units]``, float64, finite; a unit whose factor is 0 takes no part, whatever is in its gradient.
        total: float64 ``[*shape]``, contiguous.
    """
    rows = gradients.reshape(len(gradients), -1)
    if not bool((factors != 0).all()):
        chosen = factors.nonzero().squeeze(1)
        rows, factors = rows[chosen], factors[chosen]
    block = BLOCK if rows.device.type == "cpu" else GPU_BLOCK
    for into, part in zip(torch.split(total.view(-1), block), torch.split(rows, block, 1), strict=True):
        into.addmv_(part.double().t(), factors)
