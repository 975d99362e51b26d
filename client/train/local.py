"""One round of local training: the global model in, the site's model out.

1. the round's images in an order that seed and position fix
2. batches of them, moved to the device
3. augmentation
4. forward, loss, backward, optimizer step
5. the loss is checked once, at the end: a model that diverged is never handed on
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.client.train.augment import augment
from wardround.client.train.device import gpu_memory_errors
from wardround.client.train.losses import class_weights, make_loss
from wardround.client.train.optimizer import export_state, import_state, make_optimizer
from wardround.client.train.order import batches, sample_order
from wardround.common.errors import WardroundError
from wardround.common.models.initial import trained_parameters, training_mode
from wardround.common.rounds.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.train.device import Device
    from wardround.client.train.losses import Loss
    from wardround.common.study import Study


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a round of local training gives beside the model.

    Attributes:
        samples: Images used, with repetition.
        steps: Optimizer steps.
        loss: Mean training loss over the samples.
        optimizer_state: To carry into the site's next round; empty if the study resets it.
        seconds: Wall-clock time of the optimizer's steps, without what comes before and after them.
    """

    samples: int
    steps: int
    loss: float
    optimizer_state: dict[str, NDArray[np.float32]]
    seconds: float


def train(
    model: torch.nn.Module,
    data: PreparedSet,
    indices: NDArray[np.int64],
    study: Study,
    *,
    start: int,
    samples: int,
    progress: float,
    seed: int,
    device: Device,
    optimizer_state: Mapping[str, NDArray[np.float32]] | None,
) -> TrainResult:
    """Train ``model`` in place on the next ``samples`` images of the site's stream.

    The result depends on the arguments alone, bit for bit on one kind of machine and number of
    threads; global generators are neither read nor changed.

    Args:
        model: Of the catalogue; moved to the device and left there, in training mode.
        data: The site's prepared images.
        indices: Which of them to train on.
        study: Says how.
        start: Images that this site used in earlier rounds.
        samples: Images to use now, with repetition; at least 1.
        progress: Completed share of the study's rounds, in [0, 1).
        seed: Of the order of images and of the augmentation.
        device: Where to train.
        optimizer_state: Of the round before, or None to start afresh.

    Raises:
        WardroundError: WR-1203, the loss is not finite; WR-1204, one image and batch
            normalisation; WR-1206, the optimizer state is another model's; WR-1603, GPU memory.
        ValueError: No samples.
    """
    if samples < 1:
        raise ValueError("a round trains on at least one image")
    if samples == 1 and _has_batch_norm(model):
        raise WardroundError(
            "WR-1204", "One image is left for this site in this round, and the model normalises batches."
        )
    order = sample_order(indices, seed, start, samples)  # step 1
    with gpu_memory_errors():
        place_model(model, device)
        loss = make_loss(study.training.loss, _weights(data, indices, study, device))
        optimizer = make_optimizer(
            study.training, trained_parameters(model).values(), learning_rate(study.training, progress)
        )
        import_state(optimizer, optimizer_state or {})
        generator = torch.Generator().manual_seed(_stream_seed(seed, start))
        cut = batches(order, study.training.batch_size)
        began = time.perf_counter()
        total = _steps(model, data, cut, study, loss=loss, optimizer=optimizer, generator=generator, device=device)
        seconds = time.perf_counter() - began
    mean = total / samples
    if not math.isfinite(mean):  # step 5
        raise WardroundError("WR-1203", f"The training loss is {mean} after {len(cut)} steps.")
    kept = export_state(optimizer) if study.training.optimizer_state == "keep" else {}
    return TrainResult(samples, len(cut), mean, kept, seconds)


def _weights(data: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device) -> torch.Tensor | None:
    if study.training.class_weight == "none":
        return None  # without reading the masks
    masks = None if data.masks is None else data.masks[indices]
    return class_weights(data.targets[indices], masks, study).to(device.kind)


def _steps(
    model: torch.nn.Module,
    data: PreparedSet,
    cut: list[NDArray[np.int64]],
    study: Study,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    device: Device,
) -> float:
    """Sum over the samples of the loss each met."""
    scaler = torch.amp.GradScaler(device.kind.type, enabled=device.amp is torch.float16)
    total = torch.zeros((), dtype=torch.float64, device=device.kind)
    training_mode(model, study.model)
    for batch in cut:
        images, masks, targets = load_batch(data, batch, device)  # step 2
        images, masks = augment(images, masks, study.training.augmentation, generator)  # step 3
        optimizer.zero_grad(set_to_none=True)
        with device.autocast():  # step 4
            logits = model(images.contiguous(memory_format=channels_last(images.ndim)))
            value = loss(logits.float(), targets if masks is None else masks)
        torch.autograd.backward(scaler.scale(value))
        scaler.step(optimizer)
        scaler.update()
        total += value.detach() * len(batch)
    return float(total)


def load_batch(
    data: PreparedSet, batch: NDArray[np.int64], device: Device
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Images ``[B, C, *size]``, masks ``[B, *size]`` or None, and targets ``[B, labels]`` on the device."""
    return (
        _to_device(data.images[batch], device),
        None if data.masks is None else _to_device(data.masks[batch], device),
        _to_device(data.targets[batch], device),
    )


def _to_device(array: NDArray[np.generic], device: Device) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.is_gpu:
        return tensor.pin_memory().to(device.kind, non_blocking=True)
    return tensor


def place_model(model: torch.nn.Module, device: Device, *, by_patient: bool = False) -> None:
    """Move the model to the device, weights as images lie in memory; only looks the second time.

    Args:
        model: Changed in place.
        device: Where to.
        by_patient: Whether each patient has a gradient of their own.
    """
    if any(tensor.device != device.kind for tensor in model.state_dict(keep_vars=True).values()):
        model.to(device.kind)
    for tensor in model.state_dict(keep_vars=True).values():
        if tensor.ndim in {4, 5}:
            memory = memory_by_patient(tensor.ndim, device) if by_patient else channels_last(tensor.ndim)
            if not tensor.is_contiguous(memory_format=memory):
                tensor.data = tensor.data.contiguous(memory_format=memory)


def channels_last(axes: int) -> torch.memory_format:
    """The memory layout in which convolutions are fastest, for 4 or 5 axes in all."""
    return torch.channels_last if axes == 4 else torch.channels_last_3d


def memory_by_patient(axes: int, device: Device) -> torch.memory_format:
    """The layout where each patient has a gradient of their own: contiguous on a processor, where that is faster."""
    return torch.contiguous_format if device.kind.type == "cpu" else channels_last(axes)


def _has_batch_norm(model: torch.nn.Module) -> bool:
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    return any(isinstance(module, kinds) for module in model.modules())


def _stream_seed(seed: int, start: int) -> int:
    # One more word than the order's seeds have, so that the two streams never coincide.
    return int(np.random.SeedSequence([seed, start, 1]).generate_state(1, np.uint64)[0] >> np.uint64(1))
