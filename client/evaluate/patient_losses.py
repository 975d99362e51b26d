"""The loss of each patient, for sums that leave with noise: bounded, and whatever the model puts out."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.client.train.device import gpu_memory_errors
from wardround.client.train.local import channels_last, load_batch, place_model
from wardround.client.train.losses import make_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.train.device import Device
    from wardround.common.study import Study


def patient_losses(
    model: torch.nn.Module, data: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device, *, cap: float
) -> NDArray[np.float64]:
    """Mean loss of every patient over their images, in [0, cap]; a loss that is not a number counts as ``cap``.

    Args:
        model: Left in evaluation mode.
        data: The site's prepared images.
        indices: Which of them.
        study: Names the loss.
        device: Where to compute.
        cap: Largest loss of a patient.

    Returns:
        ``[patients]``, in no order that means anything.

    Raises:
        WardroundError: WR-1603, GPU memory.
    """
    found: dict[str, list[float]] = defaultdict(list)
    place_model(model, device)
    model.eval()
    for index in indices:
        found[data.patients[index]].append(_loss(model, data, int(index), study, device))
    means = np.array([np.mean(losses) for losses in found.values()], dtype=np.float64)
    return np.clip(np.nan_to_num(means, nan=cap, posinf=cap, neginf=0.0), 0.0, cap)


def _loss(model: torch.nn.Module, data: PreparedSet, index: int, study: Study, device: Device) -> float:
    """Of one image by itself: in a batch its last bits would depend on its place, and so on who else is there."""
    with gpu_memory_errors(), torch.inference_mode(), device.autocast():
        images, masks, targets = load_batch(data, np.array([index]), device)
        logits = model(images.contiguous(memory_format=channels_last(images.ndim))).float()
        return float(make_loss(study.training.loss, None)(logits, targets if masks is None else masks))
