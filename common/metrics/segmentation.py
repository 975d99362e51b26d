"""From per-sample segmentation metrics to per-patient values, and their means.

The patient is the unit: a patient's value is the mean over that patient's samples where the metric is
defined, and a site's value is the mean over patients, so that a patient with many volumes weighs no
more than one with a single volume. A patient none of whose samples defines the metric is left
out, and counted: Dice is undefined where a label is absent from both truth and prediction, HD95
where it is absent from either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.metrics.outcome import Outcome, undefined
from wardround.common.metrics.resampling import original

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats, Integers

METRICS: Final = ("dice", "hd95_mm", "surface_dice", "volume_error_ml")


def patient_means(values: Floats, cluster: Integers) -> Floats:
    """Mean over each patient's samples where defined: [..., n] -> [..., patients], NaN where none is."""
    patients = int(cluster.max()) + 1
    flat = values.reshape(-1, values.shape[-1])
    cells = np.arange(len(flat))[:, None] * patients + cluster
    known = ~np.isnan(flat)
    size = len(flat) * patients
    sums = np.bincount(cells[known], weights=flat[known], minlength=size)
    found = np.bincount(cells[known], minlength=size)
    with np.errstate(invalid="ignore"):
        means: Floats = (sums / found).reshape(*values.shape[:-1], patients)
    return means


def mean_draws(values: Floats, counts: Floats) -> Floats:
    """Mean over patients in every resample: [..., patients] and [patients, B] -> [..., B].

    Undefined (NaN) patients are left out; NaN in a resample without a defined patient.
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Floats = (np.where(known, values, 0.0) @ counts) / (known @ counts)
    return means


def patient_outcome(values: Floats, counts: Floats | None) -> Outcome:
    """The mean over patients of one metric and label.

    Args:
        values: [R, patients] per-patient values of R models, NaN where undefined.
        counts: [patients, B] from :func:`resampling.patient_counts`, or None for no resamples.
    """
    models, patients = values.shape
    known = ~np.isnan(values)
    if not known.any():
        return undefined(models, None if counts is None else counts.shape[1], "undefined for every patient")
    return Outcome(
        values=mean_draws(values, original(patients))[:, 0],
        draws=None if counts is None else mean_draws(values, counts).mean(axis=0),
        patients=known.sum(axis=1),
        pooled_patients=int(known.any(axis=0).sum()),
        eligible=patients,
    )


def paired_differences(a: Floats, b: Floats) -> Floats:
    """Per-patient differences a - b of two arms: [R, L, patients] each -> [patients].

    Each (model, label) cell is compared where both arms define it, then the mean over models and
    labels is taken; NaN for a patient with no such cell.
    """
    if a.shape != b.shape:
        raise ValueError("both arms need the same models, labels and patients")
    cells = (a - b).reshape(-1, a.shape[-1])
    known = ~np.isnan(cells)
    with np.errstate(invalid="ignore"):
        differences: Floats = np.where(known, cells, 0.0).sum(axis=0) / known.sum(axis=0)
    return differences
