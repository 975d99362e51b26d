"""Metrics of one label on one site's test images, for several models and all bootstrap resamples.

AUROC and AUPRC are in :mod:`ranking`. From the confusion counts at the decision of the model:
sensitivity = TP / (TP + FN), specificity = TN / (TN + FP), F1 = 2 TP / (2 TP + FP + FN). The
expected calibration error (Naeini, AAAI 2015) cuts [0, 1] into 15 bins of equal width and is
the mean distance, weighted by images, between the mean probability and the observed frequency of
the label in a bin. It is not resampled: the estimate is biased upwards, the more so the fewer images
there are (Roelofs et al., AISTATS 2022), and resamples repeat the bias, so that an interval of them would
exclude a perfectly calibrated model. All are taken over images; an image counts as often as its patient
was drawn.

A metric that these images cannot define is undefined with a reason, never a number: without negative
images there is no AUROC and no specificity, and AUPRC and F1 would flatter any model (their precision
is 1 whatever it predicts), so they are undefined too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.metrics.outcome import Outcome, undefined
from wardround.common.metrics.ranking import ranking_draws
from wardround.common.metrics.resampling import original

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats, Integers

METRICS: Final = ("auroc", "auprc", "sensitivity", "specificity", "f1", "ece")
BINS: Final = 15

NO_CALIBRATION_INTERVAL: Final = "no interval: the estimate is biased upwards, more so with few images"
NO_POSITIVES: Final = "no positive images at this site"
NO_NEGATIVES: Final = "no negative images at this site"
_NEEDS_POSITIVES: Final = frozenset({"auroc", "auprc", "sensitivity", "f1"})
_NEEDS_NEGATIVES: Final = frozenset({"auroc", "auprc", "specificity", "f1"})


def label_outcomes(
    truth: Integers, scores: Floats, predicted: Integers, cluster: Integers, counts: Floats | None
) -> dict[str, Outcome]:
    """Every metric of :data:`METRICS` for one label.

    Args:
        truth: [n] 0 or 1.
        scores: [R, n] probabilities in [0, 1] of R models.
        predicted: [R, n] 0 or 1, the models' decisions.
        cluster: [n] index of the image's patient, 0 to patients - 1.
        counts: [patients, B] from :func:`resampling.patient_counts`, or None for no resamples.

    Raises:
        ValueError: Shapes do not fit, or values lie outside their range.
    """
    _check(truth, scores, predicted, cluster)
    once = original(int(cluster.max()) + 1)
    models = list(zip(scores, predicted, strict=True))
    points = [
        _draws(truth, s, p, cluster, once) | {"ece": _calibration_error(truth, s, cluster, once)} for s, p in models
    ]
    resampled = None if counts is None else [_draws(truth, s, p, cluster, counts) for s, p in models]
    return {metric: _outcome(metric, truth, cluster, points, resampled) for metric in METRICS}


def _check(truth: Integers, scores: Floats, predicted: Integers, cluster: Integers) -> None:
    if truth.ndim != 1 or truth.shape != cluster.shape or scores.shape[1:] != truth.shape or not truth.size:
        raise ValueError("truth and cluster are [n], scores and predicted [R, n], with n above 0")
    if scores.shape != predicted.shape or not len(scores):
        raise ValueError("scores and predicted must have the same shape [R, n], with R above 0")
    if not (np.isin(truth, (0, 1)).all() and np.isin(predicted, (0, 1)).all()):
        raise ValueError("truth and predicted must be 0 or 1")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must be probabilities between 0 and 1")


def _outcome(
    metric: str,
    truth: Integers,
    cluster: Integers,
    points: list[dict[str, Floats]],
    resampled: list[dict[str, Floats]] | None,
) -> Outcome:
    draws = None
    if resampled is not None and metric != "ece":
        draws = np.mean([model[metric] for model in resampled], axis=0)
    reason = missing_class(metric, truth)
    if reason is not None:
        return undefined(len(points), None if draws is None else len(draws), reason)
    asked = _patients(metric, truth, cluster)
    return Outcome(
        values=np.array([model[metric][0] for model in points]),
        draws=draws,
        patients=np.full(len(points), asked, dtype=np.int64),
        pooled_patients=asked,
        eligible=asked,
    )


def missing_class(metric: str, truth: Integers) -> str | None:
    """Why ``metric`` is undefined on these images, or None when it is defined."""
    if metric in _NEEDS_POSITIVES and not (truth == 1).any():
        return NO_POSITIVES
    if metric in _NEEDS_NEGATIVES and not (truth == 0).any():
        return NO_NEGATIVES
    return None


def _patients(metric: str, truth: Integers, cluster: Integers) -> int:
    """Patients with an image the metric looks at: sensitivity asks positive images only."""
    asked = {"sensitivity": truth == 1, "specificity": truth == 0}.get(metric, np.ones(len(truth), dtype=bool))
    return len(np.unique(cluster[asked]))


def _draws(truth: Integers, score: Floats, predicted: Integers, cluster: Integers, counts: Floats) -> dict[str, Floats]:
    auroc, auprc = ranking_draws(truth, score, cluster, counts)
    return {"auroc": auroc, "auprc": auprc, **_confusion_draws(truth, predicted, cluster, counts)}


def _confusion_draws(truth: Integers, predicted: Integers, cluster: Integers, counts: Floats) -> dict[str, Floats]:
    cell = 2 * truth + predicted
    true_negative, false_positive, false_negative, true_positive = tally(cell, 4, cluster, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": true_positive / (true_positive + false_negative),
            "specificity": true_negative / (true_negative + false_positive),
            "f1": 2 * true_positive / (2 * true_positive + false_positive + false_negative),
        }


def _calibration_error(truth: Integers, score: Floats, cluster: Integers, counts: Floats) -> Floats:
    cell = equal_width_bins(score)
    images = tally(cell, BINS, cluster, counts).sum(axis=0)
    gap = tally(cell, BINS, cluster, counts, score - truth)
    total: Floats = np.abs(gap).sum(axis=0) / images
    return total


def equal_width_bins(score: Floats) -> Integers:
    """The bin of each probability, 0 to 14; bin b is [b/15, (b+1)/15), the last one includes 1."""
    bins: Integers = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    return bins


def tally(cell: Integers, cells: int, cluster: Integers, counts: Floats, weight: Floats | None = None) -> Floats:
    """Sum of ``weight`` (one an image by default) in each cell and resample: [cells, B]."""
    patients = len(counts)
    table = np.bincount(cell * patients + cluster, weights=weight, minlength=cells * patients)
    sums: Floats = table.reshape(cells, patients).astype(np.float64) @ counts
    return sums
