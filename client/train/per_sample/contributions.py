"""What the calls of a layer give for one of its parameters: one gradient for every unit, as it will be added.

The norm that a unit is clipped by is that of what the sum adds, whatever the weights are: of the very numbers where
gradients are written, and with what rounding can do where they stay products
(:mod:`~wardround.client.train.per_sample.products`).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

import torch

from wardround.client.train.per_sample.products import Products

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

SUMMED: Final = 512
"""Squares that are summed in float32 at a time: all of them are positive, so that the sum is good to 2^-15."""

BLOCK: Final = 1 << 14
"""Values of each unit that are converted to float64 at a time, so that they stay in the processor's cache."""

GPU_BLOCK: Final = 1 << 20
"""The same on a GPU, where every block costs the start of a kernel."""


SMALL: Final = 1 << 12
"""Values of a unit's gradient below which parameters are taken together: every call costs more than their values."""


class Contributions:
    """The gradients of one recording: for each parameter one of every unit.

    Args:
        units: How many.
        device: Where the gradients are.
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self.units = units
        self._device = device
        self._gradients: dict[str, Tensor] = {}
        self._products: dict[str, Products] = {}
        self._squares: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._gradients or self._products)

    def add(self, name: str, gradient: Tensor | Products) -> None:
        """Add to what the parameter has.

        Args:
            name: Of the parameter.
            gradient: ``[units, *shape]`` in the parameter's data type, or as products.
        """
        if isinstance(gradient, Products):
            if name not in self._gradients and name not in self._products:
                self._products[name] = gradient
                return
            gradient = gradient.whole()
        if name in self._products:
            self._gradients[name] = self._products.pop(name).whole().view(gradient.shape)
        known = self._gradients.get(name)
        whole = gradient if known is None else known + gradient.view(known.shape)
        self._gradients[name] = whole
        if not _small(whole):
            self._squares[name] = squares(whole)  # now, while it lies in the processor's cache

    def norms(self) -> Tensor:
        """Euclidean norm of each unit's gradient over all parameters, float64 ``[units]``."""
        total = torch.zeros(self.units, dtype=torch.float64, device=self._device)
        for found in self._squares.values():
            total += found
        for products in self._products.values():
            total += products.squares
        _, together = self._small()
        return total.add_(squares(together)).sqrt_()

    def alike(self) -> bool:
        """Whether all units have the same gradient, bit for bit."""
        whole = all(bool((found == found[0]).all()) for found in self._gradients.values())
        return whole and all(products.alike() for products in self._products.values())

    def add_to(self, sums: Mapping[str, Tensor], factors: Tensor, *, fresh: bool) -> None:
        """Add the sum over the units of factor times gradient, and let go of the gradients.

        Args:
            sums: float64 tensors of the parameters' shapes, contiguous.
            factors: ``[units]``, float64, finite; a unit whose factor is 0 takes no part, whatever is in its gradient.
            fresh: Whether nothing has been written to ``sums`` yet.
        """
        chosen = None if bool(factors.all()) else factors.nonzero().squeeze(1)
        taken = slice(None) if chosen is None else chosen
        factors, beta = factors[taken], int(not fresh)
        names, together = self._small()
        partial = torch.empty(together.shape[1], dtype=torch.float64, device=self._device)
        _add_weighted(together[taken], factors, partial, beta=0)
        for name, part in zip(names, torch.split(partial, [sums[name].numel() for name in names]), strict=True):
            into = sums[name].view(-1)
            into.copy_(part if fresh else into + part)
            del self._gradients[name]
        for name in sums.keys() - names - self._gradients.keys() - self._products.keys() if fresh else ():
            sums[name].zero_()
        for name in list(self._products):
            self._products.pop(name).add_to(sums[name].view(-1), factors, chosen, beta=beta)
        for name in list(self._gradients):
            rows = _rows(self._gradients.pop(name))[taken]
            _add_weighted(rows, factors, sums[name].view(-1), beta=beta)

    def _small(self) -> tuple[list[str], Tensor]:
        """The parameters that are taken together, and their gradients side by side ``[units, values]``."""
        found = {name: _rows(gradient) for name, gradient in self._gradients.items() if _small(gradient)}
        nothing = torch.zeros(self.units, 0, device=self._device)
        return list(found), torch.cat(list(found.values()), 1) if found else nothing


def _small(gradients: Tensor) -> bool:
    return gradients.numel() < SMALL * len(gradients)


def _rows(gradients: Tensor) -> Tensor:
    """``[units, *shape]`` as ``[units, values]``, also where there are none."""
    return gradients.reshape(len(gradients), prod(gradients.shape[1:]))


def squares(gradients: Tensor) -> Tensor:
    """Squared norm of each unit's gradient, float64 ``[units]``.

    Sums of ``SUMMED`` squares in the gradients' type, float32 at least, and their sum in float64: together good to
    2^-14 in float32, however they are added up.

    Args:
        gradients: ``[units, *shape]``.
    """
    rows = _rows(gradients)
    if rows.dtype not in {torch.float32, torch.float64}:
        rows = rows.float()
    whole = rows.shape[1] // SUMMED * SUMMED
    norms: Tensor = torch.linalg.vector_norm(rows[:, :whole].view(len(rows), whole // SUMMED, SUMMED), dim=2)
    found = norms.double().square().sum(1)
    if whole < rows.shape[1]:
        found += torch.linalg.vector_norm(rows[:, whole:], dim=1).double().square()
    return found


def _add_weighted(rows: Tensor, factors: Tensor, total: Tensor, *, beta: int) -> None:
    """``beta * total`` plus the sum of factor times row, in float64, block by block.

    Args:
        rows: ``[units, values]``.
        factors: ``[units]``, float64.
        total: float64 ``[values]``, contiguous.
        beta: 0 or 1; with 0 it does not matter what is in ``total``.
    """
    block = BLOCK if rows.device.type == "cpu" else GPU_BLOCK
    wide = torch.empty(len(rows), min(block, rows.shape[1]), dtype=torch.float64, device=rows.device)
    for into, part in zip(torch.split(total, block), torch.split(rows, block, 1), strict=True):
        into.addmv_(wide[:, : part.shape[1]].copy_(part).t(), factors, beta=beta)
