"""Does a unit's gradient depend on its place in the batch?

Kernels for few rows or columns may add up in another order at the edge of a batch than inside it. Who else is drawn
decides a unit's place, and weights at which large numbers cancel turn a last bit into more than the clipping norm; so
several units share a batch only where every place gives the same bits. The order in which a kernel adds does not
depend on the numbers, so drawn weights and images find what crafted ones would use.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Final

import torch

from wardround.client.train.per_sample.recorder import PerSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Loss = Callable[[Tensor, Tensor], Tensor]

FEWEST: Final = 3
MOST: Final = 64
COMPARED: Final = 100_000
"""Draws of the whole model: until so many weights took part. Another order of additions changes some of thousands of
values; where a gradient has ten, one draw may well show none. Behind many weights, frozen ones too, what one of them
changes has spread to every value of the gradient."""

LOSS_TRIALS: Final = 64
"""Draws of the loss alone, which has few values."""

_WIDTH: Final = 0.1


def loss_of_units(loss: Loss, outputs: Tensor, targets: Tensor, units: int) -> Tensor:
    """Sum over the units of each one's mean loss, computed for each by itself: in one shape, wherever it stands.

    Args:
        loss: Mean over its batch.
        outputs: ``[units * copies, ...]``.
        targets: ``[units * copies, ...]``.
        units: Of the batch.
    """
    of_each = zip(outputs.chunk(units), targets.chunk(units), strict=True)
    return torch.stack([loss(own, right) for own, right in of_each]).sum()


def alike_in_all_places(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, units: int) -> bool:
    """Whether one unit has the same gradient, bit for bit, in every place of a batch of ``units``.

    Args:
        model: Not changed; a copy with drawn weights is asked.
        images: Shape and device of one unit's, ``[copies, channels, *size]``, in the memory format of training.
        targets: Of one unit, ``[copies, ...]``.
        loss: Mean over its batch.
        units: Of the batch.
    """
    if units == 1:
        return True
    drawn = deepcopy(model)
    recorder, generator = PerSample(drawn), torch.Generator().manual_seed(0)
    values = sum(parameter.numel() for parameter in drawn.parameters())
    for _ in range(min(MOST, max(FEWEST, COMPARED // max(values, 1)))):
        _draw_weights(drawn, generator)
        batch = torch.randn(images.shape, generator=generator).to(images).repeat(units, *[1] * (images.ndim - 1))
        rights = targets.repeat(units, *[1] * (targets.ndim - 1))
        batch = batch.contiguous(memory_format=_format_of(images))
        with recorder.recording(units):
            outputs = _trial(drawn, batch, rights, loss, units)
        if not recorder.alike():
            return False
    return _loss_alike(loss, outputs, rights, units, generator)


def _trial(model: nn.Module, batch: Tensor, targets: Tensor, loss: Loss, units: int) -> Tensor:
    """Forward and backward pass; outputs without their graph, which would hold the layers' inputs in the next trial."""
    outputs = model(batch)
    torch.autograd.backward(loss_of_units(loss, outputs, targets, units))
    found: Tensor = outputs.detach()
    return found


def _loss_alike(loss: Loss, outputs: Tensor, targets: Tensor, units: int, generator: torch.Generator) -> bool:
    own = outputs.shape[0] // units
    shape = (own, *outputs.shape[1:])
    for _ in range(LOSS_TRIALS if outputs[0].numel() < 1 << 12 else 1):
        logits = torch.randn(shape, generator=generator).to(outputs).repeat(units, *[1] * (outputs.ndim - 1))
        logits.requires_grad_()
        torch.autograd.backward(loss_of_units(loss, logits, targets, units))
        found = logits.grad
        if found is None or not _equal(found.view(units, -1)):
            return False
    return True


def _draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(_WIDTH * torch.randn(parameter.shape, generator=generator))


def _format_of(images: Tensor) -> torch.memory_format:
    for format_ in (torch.channels_last, torch.channels_last_3d):
        if images.ndim == (4 if format_ is torch.channels_last else 5) and images.is_contiguous(memory_format=format_):
            return format_
    return torch.contiguous_format


def _equal(rows: Tensor) -> bool:
    return bool((rows == rows[0]).all())
