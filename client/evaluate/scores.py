"""Scoring a model at a site: rows per case for the final evaluation, a summary for validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.client.data.prepare import native_mask, restore
from wardround.client.evaluate.cases import CaseRow
from wardround.client.evaluate.predict import forward, predict, predict_each, probabilities
from wardround.client.evaluate.surfaces import score_structure
from wardround.client.train.losses import make_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.data.samples import DataSet
    from wardround.client.evaluate.surfaces import StructureScores
    from wardround.client.train.device import Device
    from wardround.common.study import Study

__all__ = ["CaseRow", "ValidationSummary", "case_rows", "predict", "predict_each", "validation_summary"]


@dataclass(frozen=True, slots=True)
class ValidationSummary:
    """What a site tells about a model on its validation patients.

    Attributes:
        loss: Mean over the samples of the study's loss, without class weights, so that sites can
            be compared; None without samples.
        metric: AUROC, mean over the labels for which it is defined, or Dice on the prepared grid,
            mean over the structures present in truth or prediction; None when undefined.
        patients: Number of patients.
        samples: Number of images.
    """

    loss: float | None
    metric: float | None
    patients: int
    samples: int


def case_rows(
    model: torch.nn.Module,
    data: DataSet,
    prepared: PreparedSet,
    indices: NDArray[np.int64],
    study: Study,
    *,
    device: Device,
    patient_key: Callable[[str], str],
) -> list[CaseRow]:
    """Score every sample and label; segmentations in the native grid of the image.

    Args:
        model: Left in evaluation mode.
        data: Where the native masks are.
        prepared: The same samples, prepared.
        indices: Which of them.
        study: Names the labels, the threshold and the tolerance.
        device: Where to compute.
        patient_key: Raw patient id to pseudonymous key.

    Raises:
        WardroundError: WR-1603, GPU memory; WR-11xx, a mask cannot be read any more.
    """
    rows: list[CaseRow] = []
    for index, scores in zip(indices, predict_each(model, prepared, indices, study, device), strict=True):
        patient, sample = patient_key(prepared.patients[index]), f"row-{prepared.rows[index]}"
        if study.task.kind == "classification":
            rows += _classification(patient, sample, scores, prepared.targets[index], study)
        else:
            truth, spacing = native_mask(data.samples[index], data.manifest, data.labels)
            predicted = restore(scores, prepared.geometry[index]).argmax(axis=0)
            for label, found in _structures(predicted, truth, spacing, study):
                rows.append(CaseRow(patient, sample, label, **asdict(found)))
    return rows


def _classification(
    patient: str, sample: str, scores: NDArray[np.float32], targets: NDArray[np.uint8], study: Study
) -> Iterator[CaseRow]:
    if study.task.target == "multiclass":
        chosen = [int(place == scores.argmax()) for place in range(len(scores))]
    else:
        chosen = [int(score >= study.evaluation.threshold) for score in scores]
    for label, truth, score, decision in zip(study.task.labels, targets, scores, chosen, strict=True):
        yield CaseRow(patient, sample, label, int(truth), float(score), decision)


def _structures(
    predicted: NDArray[np.int64], truth: NDArray[np.uint8], spacing: tuple[float, ...] | None, study: Study
) -> Iterator[tuple[str, StructureScores]]:
    for value, label in enumerate(study.task.labels, start=1):
        yield label, score_structure(predicted == value, truth == value, spacing, study.evaluation.surface_tolerance_mm)


def validation_summary(
    model: torch.nn.Module, prepared: PreparedSet, indices: NDArray[np.int64], study: Study, device: Device
) -> ValidationSummary:
    """Loss and metric on the validation samples; nothing per patient leaves this function.

    Raises:
        WardroundError: WR-1603, GPU memory.
    """
    patients = len({prepared.patients[index] for index in indices})
    if len(indices) == 0:
        return ValidationSummary(None, None, 0, 0)
    loss = make_loss(study.training.loss, None)
    total, scores = 0.0, []
    for logits, masks, targets in forward(model, prepared, indices, study, device):
        total += float(loss(logits, targets if masks is None else masks)) * len(logits)
        if masks is None:
            scores.append(probabilities(logits, study).cpu().numpy())
        else:
            scores.append(_dice(logits.argmax(1), masks, study.task.outputs).cpu().numpy())
    found = np.concatenate(scores)
    metric = _auroc(found, prepared.targets[indices]) if study.task.kind == "classification" else _mean(found)
    return ValidationSummary(total / len(indices), metric, patients, len(indices))


def _dice(predicted: torch.Tensor, truth: torch.Tensor, classes: int) -> torch.Tensor:
    """``[B, structures]`` Dice of class-index masks; NaN where a structure is in neither."""
    axes = tuple(range(1, truth.ndim))
    columns = []
    for value in range(1, classes):
        ours, theirs = predicted == value, truth == value
        columns.append(2.0 * (ours & theirs).sum(axes) / (ours.sum(axes) + theirs.sum(axes)))
    return torch.stack(columns, dim=1)


def _mean(values: NDArray[np.float32]) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean(dtype=np.float64)) if len(defined) else None


def _auroc(scores: NDArray[np.float32], targets: NDArray[np.uint8]) -> float | None:
    """Mean over the labels that have positives and negatives; None if no label has both.

    The rank form: Hanley and McNeil, Radiology 143 (1982).
    """
    from scipy.stats import rankdata

    values = []
    for column, truth in zip(scores.T, targets.T.astype(bool), strict=True):
        positives = int(truth.sum())
        negatives = len(truth) - positives
        if positives and negatives:
            ranks = float(rankdata(column)[truth].sum())
            values.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(values)) if values else None
