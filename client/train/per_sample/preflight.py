"""One real backward pass before a study trains, held against one plain backward pass for every unit.

What a model computes without parameters, between its layers, cannot be read off its modules: a mean
over the batch, a shuffled axis, a state that the forward pass changes. This finds it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from wardround.client.train.per_sample.recorder import PerSample
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    Loss = Callable[[Tensor, slice], Tensor]

TOLERANCE: Final = 1e-9
"""Largest difference from plain automatic differentiation in float64, relative to the largest norm of a gradient."""


def preflight(model: nn.Module, batch: Tensor, loss: Loss, *, units: int) -> None:
    """Refuse a model whose gradients, taken unit by unit, are not those of each unit alone.

    Runs in float64 on a copy, on the device of the model, without dropout (which draws anew for
    every pass); the model and its gradients are left alone.

    Args:
        model: In training mode.
        batch: Example images ``[units * copies, C, *size]``, unit-major; noise does.
        loss: Mean loss of the outputs of those rows of the batch that the slice names.
        units: At least 2, so that one could influence another.

    Raises:
        WardroundError: WR-1804 or WR-1803, as
            :func:`~wardround.client.train.per_sample.check.check_model`; WR-1803, a gradient
            differs, or the forward pass changes the model's state.
        ValueError: Fewer than two units, or a batch that they do not divide.
    """
    if units < 2 or len(batch) % units:
        raise ValueError("the example is a batch of two or more units with equally many copies")
    check = _without_dropout(copy.deepcopy(model).double())
    for parameter in check.parameters():
        parameter.grad = None
    before = {name: buffer.clone() for name, buffer in check.named_buffers()}
    batch = batch.double()
    sums, norms = _recorded(check, batch, loss, units)
    for name, buffer in check.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise WardroundError("WR-1803", f"The forward pass changes the model's state {name}.")
    _compare(sums, norms, [_alone(check, batch, loss, rows) for rows in _rows(len(batch), units)])


def _rows(images: int, units: int) -> list[slice]:
    copies = images // units
    return [slice(unit * copies, (unit + 1) * copies) for unit in range(units)]


def _factors(units: int) -> Tensor:
    """Different for every unit, so that no gradient passes for another's."""
    return torch.arange(1, units + 1, dtype=torch.float64) / units


def _recorded(model: nn.Module, batch: Tensor, loss: Loss, units: int) -> tuple[dict[str, Tensor], Tensor]:
    """Weighted sum and norms, as a step under differential privacy takes them."""
    recorder = PerSample(model)
    with recorder.recording(units):
        torch.autograd.backward(units * loss(model(batch), slice(0, len(batch))))
    norms = recorder.norms()
    return recorder.weighted_sum(_factors(units).to(norms.device)), norms


def _alone(model: nn.Module, batch: Tensor, loss: Loss, rows: slice) -> dict[str, Tensor]:
    """The gradients of one unit's mean loss by plain automatic differentiation."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    # With the images' own gradient: where only its weights' is asked for, PyTorch's group norm may crash.
    own = batch[rows].detach().requires_grad_()
    *found, _ = torch.autograd.grad(loss(model(own), rows), [*trained.values(), own], materialize_grads=True)
    return dict(zip(trained, found, strict=True))


def _compare(sums: dict[str, Tensor], norms: Tensor, alone: list[dict[str, Tensor]]) -> None:
    expected = torch.stack([_norm(gradients.values()) for gradients in alone])
    largest = float(expected.max())
    for name, found in sums.items():
        plain = sum(factor * gradients[name] for factor, gradients in zip(_factors(len(alone)), alone, strict=True))
        if not float(torch.linalg.vector_norm(found - plain)) <= TOLERANCE * largest:
            raise WardroundError("WR-1803", f"The gradient of {name} is not that of one patient alone.")
    if not float((norms - expected).abs().max()) <= TOLERANCE * largest:
        raise WardroundError("WR-1803", "The norm of a patient's gradient is not that of the patient alone.")


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()


def _without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model
