"""Curves for figures: the ROC curve with a bootstrap band, and the calibration curve.

Several models (seeds) are averaged vertically: the mean sensitivity at each false positive rate
(Fawcett, Pattern Recognit Lett 27:861, 2006). Bands are pointwise 95% percentile intervals of the
patient-cluster bootstrap, not simultaneous ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.metrics.classification import BINS, equal_width_bins, missing_class, tally
from wardround.common.metrics.resampling import CHUNK, MAX_UNDEFINED, MIN_PATIENTS, original, patient_counts

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats, Integers

GRID = 101
"""Points of the false positive rate, 0, 0.01, …, 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A curve with its band.

    Attributes:
        x: [K] false positive rate, or mean predicted probability.
        y: [K] sensitivity, or observed frequency.
        low: [K] lower end of the band; NaN where there is none.
        high: [K] upper end of the band; NaN where there is none.
        images: [K] images behind each point (all of them on a ROC curve).
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats
    images: Integers


def roc_band(
    truth: Integers, score: Floats, cluster: Integers, rng: np.random.Generator, resamples: int = 2000
) -> Curve | None:
    """The ROC curve on a grid of false positive rates; None where a class is missing.

    Args:
        truth: [n] 0 or 1.
        score: [n] or [R, n] for R models, whose sensitivities are averaged.
        cluster: [n] index of the image's patient, 0 to patients - 1.
        rng: Draws the resamples.
        resamples: How many.
    """
    if missing_class("auroc", truth) is not None:
        return None
    scores = np.atleast_2d(score)
    counts = patient_counts(int(cluster.max()) + 1, resamples, rng)
    grid = np.linspace(0, 1, GRID)
    once = original(len(counts))
    low, high = _band(np.mean([_sensitivities(truth, s, cluster, counts, grid) for s in scores], axis=0), len(counts))
    return Curve(
        x=grid,
        y=np.mean([_sensitivities(truth, s, cluster, once, grid)[:, 0] for s in scores], axis=0),
        low=low,
        high=high,
        images=np.full(GRID, len(truth), dtype=np.int64),
    )


def _sensitivities(truth: Integers, score: Floats, cluster: Integers, counts: Floats, grid: Floats) -> Floats:
    """Sensitivity at each false positive rate of ``grid`` and in each resample: [K, B]."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    positive = truth[order, None] == 1
    found = np.empty((len(grid), counts.shape[1]))
    for start in range(0, counts.shape[1], CHUNK):
        weights = counts[:, start : start + CHUNK][cluster[order]]
        rates = [np.cumsum(np.where(is_in, weights, 0.0), axis=0)[ends] for is_in in (positive, ~positive)]
        with np.errstate(invalid="ignore"):
            true_rate, false_rate = (np.insert(sums, 0, 0.0, axis=0) / sums[-1] for sums in rates)
        for column in range(weights.shape[1]):
            found[:, start + column] = np.interp(grid, false_rate[:, column], true_rate[:, column])
    return found


def calibration_curve(
    truth: Integers, score: Floats, cluster: Integers, rng: np.random.Generator, resamples: int = 2000
) -> Curve:
    """Observed frequency against mean predicted probability in the bins of the calibration error.

    Empty bins are left out. A bin that is empty in too many resamples has no band.

    Args:
        truth: [n] 0 or 1.
        score: [n] or [R, n] probabilities; those of R models are pooled into the same bins.
        cluster: [n] index of the image's patient, 0 to patients - 1.
        rng: Draws the resamples.
        resamples: How many.
    """
    scores = np.atleast_2d(score)
    models = len(scores)
    counts = patient_counts(int(cluster.max()) + 1, resamples, rng)
    once = original(len(counts))
    cell, patient, flat = equal_width_bins(scores).ravel(), np.tile(cluster, models), scores.ravel()
    truths = np.tile(truth, models).astype(np.float64)
    images = tally(cell, BINS, patient, once)[:, 0]
    kept = images > 0
    with np.errstate(invalid="ignore"):
        draws = tally(cell, BINS, patient, counts, truths) / tally(cell, BINS, patient, counts)
    low, high = _band(draws[kept], len(counts))
    return Curve(
        x=tally(cell, BINS, patient, once, flat)[kept, 0] / images[kept],
        y=tally(cell, BINS, patient, once, truths)[kept, 0] / images[kept],
        low=low,
        high=high,
        images=(images[kept] / models).round().astype(np.int64),
    )


def _band(draws: Floats, patients: int) -> tuple[Floats, Floats]:
    """Pointwise 95% percentiles of [K, B]; NaN where undefined in too many resamples."""
    low, high = np.full((2, len(draws)), np.nan)
    usable = np.isnan(draws).mean(axis=1) <= MAX_UNDEFINED
    if patients >= MIN_PATIENTS and usable.any():
        low[usable], high[usable] = np.nanpercentile(draws[usable], [2.5, 97.5], axis=1)
    return low, high
