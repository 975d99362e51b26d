"""Gradients of a layer's weight that stay products of two small matrices, one product for every unit.

A weight ``[O, I]`` that a unit's images meet at K places has the gradient ``L R'``, with ``L [O, K]`` from the gradient
of the output and ``R [I, K]`` from the input. Where K is small both sides together are much smaller than their
product, which is asked for two things only:

* its squared norm, the sum over all k and l of ``(L'L)_kl (R'R)_kl``
* its share of the sum over the units, one product of matrices for all of them

Goodfellow, Efficient Per-Example Gradient Computations, 2015, for linear layers; Rochette et al. 2019 and Bu et al.,
Scalable and Efficient Training of Large Convolutional Neural Networks with Differential Privacy, 2022, for others.

A norm and a sum that are found in two ways are equal in exact arithmetic alone, and weights that a coordinator chooses
make large numbers cancel until they are not. So both are taken in float64, and what rounding can do, bounded by a sum
in which nothing cancels, is part of the norm (:meth:`Products.squares`; ``common/privacy/README.md``, section 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING: Final = 2.0**-34
"""How far a squared norm may be off, relative to ``D^2``, with ``D`` the sum over k of ``|L_k| |R_k|``.

With u = 2^-53, whatever the order of additions: ``L'L`` is off by ``(O + 1) u |L_k| |L_l|``, ``R'R`` by ``(I + 1) u
|R_k| |R_l|``, and the K^2 products of both and their sum by ``(K^2 + 1) u`` more. As ``|(L'L)_kl| <= |L_k| |L_l|``, all
of it is below ``1.01 (O + I + K^2 + 3) u D^2``, which is below ``2^-34 D^2`` up to :data:`LARGEST`.
"""

LARGEST: Final = 1 << 18
"""O + I + K^2 at most."""

NEGLIGIBLE: Final = 2.0**-20
"""The share of a squared norm that it may be off by: a clipped gradient then has norm C (1 + 2^-20) at most."""

TERMS: Final = 1 << 10
"""Columns of all units together at most: as many terms has every value of the sum."""

FEW: Final = 64
"""Columns of a unit at most: beyond, a gradient for every unit in float32 takes less time."""

NARROW: Final = 4
"""A side has this many times more rows than columns at least, for the same reason."""

SMALL: Final = 1 << 13
"""Values of a weight at least: smaller ones are written at once."""


class Products:
    """The gradients of one weight, one for every unit.

    Args:
        left: L, float64 ``[units, O, K]``.
        right: R, float64 ``[I, K, units]``, contiguous.
        inner: ``R'R``, float64 ``[units, K, K]``.
        dtype: Of both sides before.
    """

    def __init__(self, left: Tensor, right: Tensor, inner: Tensor, dtype: torch.dtype) -> None:
        self._left = left
        self._right = right
        self._dtype = torch.promote_types(dtype, torch.float32)
        self.squares = _squares(torch.bmm(left.transpose(1, 2), left), inner)
        """Squared norms, float64 ``[units]``: see :func:`_squares`."""

    @classmethod
    def of(cls, left: Tensor, right: Tensor) -> Products:
        """From both sides, ``[units, O, K]`` and ``[units, I, K]``."""
        wide = right.double()
        inner = torch.bmm(wide.transpose(1, 2), wide)
        return cls(left.double(), wide.permute(1, 2, 0).contiguous(), inner, left.dtype)

    def whole(self) -> Tensor:
        """Multiplied out, ``[units, O, I]``, in the data type of the sides, float32 at least."""
        return torch.bmm(self._left, self._right.permute(2, 1, 0)).to(self._dtype)

    def alike(self) -> bool:
        """Whether all units have the same gradient and norm, bit for bit."""
        by_unit = (self._left, self._right.permute(2, 0, 1), self.squares)
        return all(bool((found == found[0]).all()) for found in by_unit)

    def add_to(self, total: Tensor, factors: Tensor, taken: Tensor | None, *, beta: int) -> None:
        """``beta * total`` plus the sum of factor times gradient.

        Args:
            total: float64 ``[O * I]``, contiguous.
            factors: float64, of the units that are taken.
            taken: Which they are; None for all.
            beta: 0 or 1; with 0 it does not matter what is in ``total``.
        """
        left, right = (self._left, self._right) if taken is None else (self._left[taken], self._right[:, :, taken])
        scaled = (left * factors.view(-1, 1, 1)).permute(1, 2, 0).flatten(1)
        total.view(len(scaled), len(right)).addmm_(scaled, right.flatten(1).t(), beta=beta)


def suit_products(units: int, outputs: int, inputs: int, columns: int, device: torch.device) -> bool:
    """Whether gradients ``[O, I]`` of so many columns are kept as products: within the bounds, and where it is faster.

    On processors only: most GPUs are slow in float64, and none was measured.
    """
    within = units * columns <= TERMS and outputs + inputs + columns**2 <= LARGEST
    faster = columns <= min(FEW, outputs // NARROW, inputs // NARROW) and outputs * inputs >= SMALL
    return within and faster and device.type == "cpu"


def _squares(left: Tensor, right: Tensor) -> Tensor:
    """Squared norms ``[units]`` from ``L'L`` and ``R'R``, ``[units, K, K]``, which may be overwritten.

    As float64 finds them, where they are good to :data:`NEGLIGIBLE`; else with the largest possible error on top: where
    large numbers cancel, a unit is clipped more than it would have to be, never less.
    """
    lengths = (left.diagonal(dim1=1, dim2=2) * right.diagonal(dim1=1, dim2=2)).sqrt_()
    error = lengths.sum(1).square_().mul_(ROUNDING)
    found = left.mul_(right).sum((1, 2))
    return torch.where(error <= NEGLIGIBLE * found, found, found.clamp(min=0).add_(error))
