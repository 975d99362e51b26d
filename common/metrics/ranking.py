"""Area under the ROC curve and average precision, for all bootstrap resamples at once.

With w the number of times an image's patient was drawn, the weighted Mann-Whitney statistic

    AUROC = sum_i w_i (N - (FP_>(i) + FP_>=(i)) / 2) / (P N)    over positive images i

counts pairs in which the positive image has the higher score, ties as one half (Bamber, J Math
Psychol 12:387, 1975); FP_> and FP_>= are the weights of the negative images above, and at or above,
score i, P and N those of all positive and negative images. Average precision, the step-wise area
under the precision-recall curve without interpolation (Davis & Goadrich, ICML 2006), is

    AUPRC = sum_i w_i TP_>=(i) / (TP_>=(i) + FP_>=(i)) / P.

Scores are sorted once; each resample is then a cumulative sum of weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.common.metrics.resampling import CHUNK

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats, Integers


def ranking_draws(truth: Integers, score: Floats, cluster: Integers, counts: Floats) -> tuple[Floats, Floats]:
    """AUROC and AUPRC in every resample.

    Args:
        truth: [n] 0 or 1.
        score: [n] higher means more likely positive.
        cluster: [n] index of the image's patient.
        counts: [patients, B] times each patient was drawn.

    Returns:
        Two arrays [B]; NaN in a resample without positive or without negative images.
    """
    order = np.argsort(-score, kind="stable")
    positive = order[truth[order] == 1]
    negative = order[truth[order] == 0]
    at_or_above_positive = np.searchsorted(-score[positive], -score[positive], side="right")
    above = np.searchsorted(-score[negative], -score[positive], side="left")
    at_or_above = np.searchsorted(-score[negative], -score[positive], side="right")
    resamples = counts.shape[1]
    auroc, auprc = np.empty(resamples), np.empty(resamples)
    for start in range(0, resamples, CHUNK):
        block = counts[:, start : start + CHUNK]
        weights = block[cluster[positive]]
        true_above = _cumulative(weights)
        false_above = _cumulative(block[cluster[negative]])
        positives, negatives = true_above[-1], false_above[-1]
        found, false = true_above[at_or_above_positive], false_above[at_or_above]
        beaten = negatives - (false_above[above] + false) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            missing = (positives == 0) | (negatives == 0)
            precision = np.where(found > 0, found / (found + false), 0.0)
            area = np.einsum("ib,ib->b", weights, beaten) / (positives * negatives)
            average = np.einsum("ib,ib->b", weights, precision) / positives
        auroc[start : start + CHUNK] = np.where(missing, np.nan, area)
        auprc[start : start + CHUNK] = np.where(missing, np.nan, average)
    return auroc, auprc


def _cumulative(weights: Floats) -> Floats:
    """Row k is the sum of the first k rows: [n, b] -> [n + 1, b]."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
