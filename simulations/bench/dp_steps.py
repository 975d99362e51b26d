"""The models of ``bench dp``, the step of plain training, and wardround's step with differential privacy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from wardround.client.train.device import choose_device
from wardround.client.train.local import channels_last, place_model
from wardround.client.train.losses import make_loss
from wardround.client.train.noisy import clip_factors, put_gradient
from wardround.client.train.per_sample import PerSample
from wardround.client.train.per_sample.places import alike_in_all_places, loss_of_units
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model
from wardround.common.models.conversions import ready_for_privacy
from wardround.common.privacy.lattice import Lattice
from wardround.common.study import build_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wardround.client.train.losses import Loss

    Side = Callable[[nn.Module, Tensor, Tensor, Loss, float], Callable[[], object]]
    """Model, images, targets, loss and noise multiplier to a step, as a call."""

SEGMENTING: Final = ("unet", "voxelwise")
"""Models of the catalogue that predict masks; the others predict labels."""

CLIP: Final = 1.0
RATE: Final = 0.01
"""Of the optimizer, plain SGD: whatever else it does would be the same on all sides."""


def build(name: str, size: tuple[int, ...]) -> nn.Module:
    """A model of the catalogue with the parameters that it has by default, ready for privacy, one input channel."""
    kind = "segmentation" if name in SEGMENTING else "classification"
    task = {"kind": kind, "labels": ["lesion"], "dimensions": len(size)}
    study = build_study(
        {
            "schema": 1,
            "name": "bench-dp",
            "title": "Benchmark of differential privacy",
            "sites": ["one"],
            "task": task | ({} if name in SEGMENTING else {"target": "binary"}),
            "input": {"size": size},
            "model": {"name": name},
            "training": {"rounds": 1, "epochs": 1, "loss": "dice_ce" if name in SEGMENTING else "bce"},
        }
    )
    model = build_model(study, seed=0)
    ready_for_privacy(model)
    return model


def draw_batch(name: str, units: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Images ``[units, 1, *size]`` and masks ``[units, *size]`` or labels ``[units, 1]``, the same every time."""
    generator = torch.Generator().manual_seed(0)
    shape = size if name in SEGMENTING else (1,)
    return torch.randn(units, 1, *size, generator=generator), torch.randint(0, 2, (units, *shape), generator=generator)


def loss_of(name: str) -> Loss:
    """The loss that a study would take for the model."""
    return make_loss("dice_ce" if name in SEGMENTING else "bce", None)


def channels_last_memory(model: nn.Module, images: Tensor) -> Tensor:
    """Put model and images into channels-last memory, in which a site trains without privacy; the images."""
    place_model(model, choose_device("cpu"))
    return images.contiguous(memory_format=channels_last(images.ndim))


def plain(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], None]:
    """Training without privacy, in channels-last memory, as a site does it: forward, backward, optimizer."""
    del multiplier
    images = channels_last_memory(model, images)
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(model(images), targets))
        optimizer.step()

    return step


def ours(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], None]:
    """A site's step under differential privacy, with the parts that training is made of.

    Forward, backward, norms, clipping, sum, lattice, noise of the operating system's randomness, optimizer.
    """
    place_model(model, choose_device("cpu"), by_patient=True)
    trained = list(model.parameters())
    optimizer = torch.optim.SGD(trained, RATE)
    recorder = PerSample(model)
    lattice = Lattice(CLIP, sum(_sizes(model)), multiplier)
    if not alike_in_all_places(model, images[:1], targets[:1], loss, len(images)):
        raise WardroundError("WR-1521", "On this machine patients cannot share a batch of this size.")

    def step() -> None:
        with recorder.recording(len(images)):
            torch.autograd.backward(loss_of_units(loss, model(images), targets, len(images)))
        sums = recorder.weighted_sum(clip_factors(recorder.norms(), CLIP))
        total, units = sums.whole.numpy(), len(images)
        noisy = lattice.privatise_real(total, deviation=lattice.deviation, denominator=units, random=os.urandom)
        put_gradient(trained, noisy)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def noise(model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, multiplier: float) -> Callable[[], object]:
    """The part of our step that does not grow with the patients: lattice and noise."""
    del images, targets, loss
    total = np.zeros(sum(_sizes(model)))
    lattice = Lattice(CLIP, total.size, multiplier)
    return lambda: lattice.privatise_real(total, deviation=lattice.deviation, denominator=1.0, random=os.urandom)


def _sizes(model: nn.Module) -> list[int]:
    return [parameter.numel() for parameter in model.parameters()]
