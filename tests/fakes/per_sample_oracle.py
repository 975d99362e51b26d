"""Gradients unit by unit as anyone would write them: one plain backward pass for each unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wardround.client.train.per_sample import PerSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Loss = Callable[[Tensor, slice], Tensor]


def squared_loss(outputs: Tensor) -> Loss:
    """A loss, mean over the rows, whose gradient is different everywhere."""
    target = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target = target.to(outputs.dtype)
    return lambda found, rows: (found - target[rows]).square().flatten(1).sum(1).mean()


def one_by_one(model: nn.Module, batch: Tensor, loss: Loss, units: int) -> list[dict[str, Tensor]]:
    """Each unit's gradient of its own mean loss; zeros where a parameter is not used."""
    copies, found = len(batch) // units, []
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for unit in range(units):
        rows = slice(unit * copies, (unit + 1) * copies)
        # PyTorch's group norm crashes in channels-last memory where only the weights' gradient is asked for.
        own = batch[rows].detach().requires_grad_()
        gradients = torch.autograd.grad(
            loss(model(own), rows), [*trained.values(), own], materialize_grads=True, allow_unused=True
        )
        found.append({name: gradient.double() for name, gradient in zip(trained, gradients, strict=False)})
    return found


def norm(gradients: dict[str, Tensor]) -> float:
    """Over all parameters."""
    return float(torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt())


def record(recorder: PerSample, model: nn.Module, batch: Tensor, loss: Loss, units: int) -> None:
    """One recording, as a step under differential privacy makes it."""
    with recorder.recording(units):
        torch.autograd.backward(units * loss(model(batch), slice(0, len(batch))))


def error(model: nn.Module, batch: Tensor, units: int, loss: Loss | None = None) -> float:
    """Largest difference of norms and weighted sums from the oracle's, relative to the largest norm."""
    loss = loss or squared_loss(model(batch).detach())
    alone = one_by_one(model, batch, loss, units)
    recorder = PerSample(model)
    record(recorder, model, batch, loss, units)
    norms, factors = recorder.norms(), torch.linspace(0.5, 1.5, units, dtype=torch.float64)
    sums = recorder.weighted_sum(factors)
    expected = [norm(gradients) for gradients in alone]
    differences = [float((norms - torch.tensor(expected, dtype=torch.float64)).abs().max())]
    assert list(sums) == list(alone[0])
    for name, found in sums.items():
        plain = sum(factor * gradients[name] for factor, gradients in zip(factors, alone, strict=True))
        assert isinstance(plain, torch.Tensor)
        assert (found.shape, found.dtype) == (plain.shape, torch.float64)
        differences.append(float(torch.linalg.vector_norm(found - plain)))
    assert max(expected) > 0
    return max(differences) / max(expected)
