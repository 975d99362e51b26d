"""The peers of ``bench dp``: Opacus with hooks and with ghost clipping, and PyTorch's function transforms.

Each takes its step as its documentation shows it, with its own noise, which a seed reproduces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.func import functional_call, grad, vmap

from wardround.simulations.bench.dp_steps import CLIP, RATE, channels_last_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wardround.client.train.losses import Loss


def hooks(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], None]:
    """Opacus: per-sample gradients by hooks on the layers."""
    from opacus import GradSampleModule  # type: ignore[import-untyped]
    from opacus.optimizers import DPOptimizer  # type: ignore[import-untyped]

    images = channels_last_memory(model, images)
    wrapped = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), RATE),
        noise_multiplier=multiplier,
        max_grad_norm=CLIP,
        expected_batch_size=len(images),
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(wrapped(images), targets))
        optimizer.step()

    return step


class _Criterion:
    """A study's loss in the form that ghost clipping asks for: by image, or their mean."""

    reduction: Literal["none", "mean"] = "mean"

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.reduction == "mean":
            return self._loss(outputs, targets)
        each = zip(torch.split(outputs, 1), torch.split(targets, 1), strict=True)
        return torch.stack([self._loss(output, target) for output, target in each])


def ghost(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], None]:
    """Opacus: fast gradient clipping with ghost norms, two backward passes."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping  # type: ignore[import-untyped]
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping  # type: ignore[import-untyped]

    images = channels_last_memory(model, images)
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=CLIP, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), RATE),
        noise_multiplier=multiplier,
        max_grad_norm=CLIP,
        expected_batch_size=len(images),
    )
    criterion = DPLossFastGradientClipping(wrapped, optimizer, _Criterion(loss))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        criterion(wrapped(images), targets).backward()
        optimizer.step()

    return step


def functorch(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], None]:
    """PyTorch: the gradient of one image's loss, mapped over the batch."""
    images = channels_last_memory(model, images)
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def of_one(parameters: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, parameters, (image.unsqueeze(0),)), target.unsqueeze(0))

    gradients = vmap(grad(of_one), in_dims=(None, 0, 0))

    def step() -> None:
        found = gradients({name: value.detach() for name, value in model.named_parameters()}, images, targets)
        squares = torch.stack([each.flatten(1).square().sum(1) for each in found.values()])
        factors = (CLIP / squares.sum(0).sqrt()).clamp(max=1.0)
        for name, parameter in model.named_parameters():
            noise = multiplier * CLIP * torch.randn(parameter.shape)
            parameter.grad = (torch.tensordot(factors, found[name], dims=1) + noise) / len(images)
        optimizer.step()

    return step
