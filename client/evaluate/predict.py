"""A model's probabilities for prepared images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.client.train.device import gpu_memory_errors
from wardround.client.train.local import channels_last, load_batch, place_model
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.train.device import Device
    from wardround.common.study import Study


def predict(
    model: torch.nn.Module, data: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device
) -> NDArray[np.float32]:
    """Probabilities of all ``indices`` at once.

    Returns:
        ``[n, outputs]`` (classification) or ``[n, outputs, *size]`` (segmentation; use
        :func:`predict_each` where that would not fit in memory). Sigmoid for binary and multilabel
        tasks, softmax over the outputs otherwise.
    """
    if len(indices) == 0:
        size = study.input.size if study.task.kind == "segmentation" else ()
        return np.zeros((0, study.task.outputs, *size), np.float32)
    return np.stack(list(predict_each(model, data, indices, study, device)))


def predict_each(
    model: torch.nn.Module, data: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device
) -> Iterator[NDArray[np.float32]]:
    """Probabilities ``[outputs]`` or ``[outputs, *size]`` of one image after the other.

    Raises:
        WardroundError: WR-1203, the model's output is not finite; WR-1603, GPU memory.
    """
    for logits, _, _ in forward(model, data, indices, study, device):
        yield from probabilities(logits, study).cpu().numpy()


def forward(
    model: torch.nn.Module, data: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:
    """Float32 logits, masks and targets of each batch, on the device; the model is left in evaluation mode.

    Raises:
        WardroundError: WR-1203, the model's output is not finite; WR-1603, GPU memory.
    """
    place_model(model, device)
    model.eval()
    size = study.training.batch_size
    for first in range(0, len(indices), size):
        with gpu_memory_errors(), torch.inference_mode(), device.autocast():
            images, masks, targets = load_batch(data, indices[first : first + size], device)
            logits = model(images.contiguous(memory_format=channels_last(images.ndim))).float()
        if not torch.isfinite(logits).all():
            raise WardroundError("WR-1203", "The model's output is infinite or not a number.")
        yield logits, masks, targets


def probabilities(logits: torch.Tensor, study: Study) -> torch.Tensor:
    """Sigmoid where each label stands by itself, softmax over axis 1 where exactly one holds."""
    with torch.inference_mode():
        if study.task.target in {"binary", "multilabel"}:
            return torch.sigmoid(logits)
        return torch.softmax(logits, dim=1)
