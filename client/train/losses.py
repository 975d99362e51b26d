"""The losses of a study, as functions of logits and targets.

Segmentation targets are class indices ``[B, *size]``, 0 the background; classification targets are
0/1 ``[B, labels]``, one-hot where exactly one label holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.study import Study

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LossName: TypeAlias = Literal["bce", "cross_entropy", "dice_ce"]

SMOOTH = 1e-5
"""Added to both sides of the Dice ratio, as in MONAI's ``DiceLoss``."""


def make_loss(name: LossName, weights: torch.Tensor | None) -> Loss:
    """The loss by its name in the study, a mean over the batch.

    Args:
        name: ``bce``, ``cross_entropy`` or ``dice_ce``.
        weights: ``[labels]`` weight of the positives (bce), or ``[classes]`` weight of each class
            in the cross entropy; None weighs all alike.
    """
    if name == "bce":
        return lambda logits, target: F.binary_cross_entropy_with_logits(
            logits, target.to(logits.dtype), pos_weight=weights
        )
    if name == "cross_entropy":
        return lambda logits, target: F.cross_entropy(logits, _class_index(logits, target), weight=weights)
    return lambda logits, target: dice_ce(logits, target, weights)


def _class_index(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Class indices from masks as they are, from one-hot labels by their place."""
    return target.argmax(1) if target.ndim == logits.ndim else target.long()


def dice_ce(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Soft Dice loss over all classes plus cross entropy (Isensee et al., nnU-Net, 2021).

    Equals MONAI's ``DiceCELoss(to_onehot_y=True, softmax=True)`` and takes one softmax where that
    takes two: Dice is computed per image and class, background included, and averaged.

    Args:
        logits: ``[B, classes, *size]``.
        target: ``[B, *size]`` class indices.
        weights: ``[classes]``, for the cross entropy only.
    """
    index = target.long()
    log_probability = F.log_softmax(logits.float(), dim=1)
    cross_entropy = F.nll_loss(log_probability, index, weight=weights)
    probability = log_probability.exp()
    one_hot = torch.zeros_like(probability).scatter_(1, index.unsqueeze(1), 1.0)
    axes = tuple(range(2, logits.ndim))
    overlap = (probability * one_hot).sum(axes)
    total = probability.sum(axes) + one_hot.sum(axes)
    dice = (2.0 * overlap + SMOOTH) / (total + SMOOTH)
    return cross_entropy + (1.0 - dice).mean()


def class_weights(targets: NDArray[np.uint8], masks: NDArray[np.uint8] | None, study: Study) -> torch.Tensor:
    """Inverse-frequency weights of a site's own training targets.

    A class that is absent at the site has weight 1; no term of the loss meets it.

    Args:
        targets: ``[N, labels]`` 0/1 of the training images (classification).
        masks: ``[N, *size]`` class indices of the training images; None for classification.
        study: Says for which task and loss.

    Returns:
        Negatives over positives per label for bce, else ``total / (classes * count)`` per class.
    """
    if masks is not None:
        counts = np.bincount(masks.reshape(-1), minlength=study.task.outputs)
        return _inverse(np.full(study.task.outputs, masks.size / study.task.outputs), counts)
    positives = targets.sum(axis=0, dtype=np.int64)
    if study.training.loss == "bce":
        negatives = len(targets) - positives
        return _inverse(np.where(negatives > 0, negatives, positives), positives)
    return _inverse(np.full(len(positives), len(targets) / len(positives)), positives)


def _inverse(numerator: NDArray[np.float64], counts: NDArray[np.int64]) -> torch.Tensor:
    weights = np.where(counts > 0, numerator / np.maximum(counts, 1), 1.0)
    return torch.from_numpy(weights.astype(np.float32))
