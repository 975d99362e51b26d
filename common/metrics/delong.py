"""Clustered DeLong: variance of AUROCs of images that are clustered by patient.

DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988), with the cluster sums of Obuchowski,
Biometrics 53:567 (1997): a patient may have several images, positive, negative or both.

1. Structural components. A positive image's is the share of negative images that it beats, a negative
   image's the share of positive images that beat it; ties count one half. Both average to the AUROC.
   They come from mid-ranks (Sun & Xu, IEEE Signal Process Lett 21:1389, 2014).
2. Cluster sums. Patient i with m_i of the M positive and n_i of the N negative images contributes
   u_i = sum(positive components - AUROC) / M and v_i = sum(negative components - AUROC) / N.
3. Variance. With I patients, I10 with a positive and I01 with a negative image,
   var = I10/(I10-1) sum u_i^2 + I01/(I01-1) sum v_i^2 + 2 I/(I-1) sum u_i v_i.
   The covariance of two AUROCs is the same with products, so a difference's variance is that of
   the differences of u and v. Clusters of one image give DeLong's variance of 1988.

Everything is linear in the components. So the mean over several models (seeds) has the mean of their
components, and the mean over labels that of the labels' components, each label with its own M, N,
I10 and I01. The models are taken as they are: the variance is that of drawing other patients, not
of training again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats, Integers

MIN_CLASS_PATIENTS = 5
"""Fewest patients with a positive, and with a negative image, for the normal approximation."""

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """An AUROC, or a linear combination of AUROCs, with what each patient contributes to its error.

    Attributes:
        value: The AUROC (or combination).
        positive: [patients] u_i of the module's step 2 times sqrt(I10 / (I10 - 1)).
        negative: [patients] v_i times sqrt(I01 / (I01 - 1)).
        cross: [2, patients] u_i and v_i as they are.
    """

    value: float
    positive: Floats
    negative: Floats
    cross: Floats

    def __sub__(self, other: Self) -> Components:
        return _combined([self, other], [1.0, -1.0])

    @property
    def variance(self) -> float:
        """Step 3 of the module."""
        patients = len(self.positive)
        both = 2 * patients / (patients - 1) * float(self.cross[0] @ self.cross[1])
        return float(self.positive @ self.positive + self.negative @ self.negative) + both

    def p_value(self) -> float | None:
        """Two-sided p of value = 0; None when the variance is zero and the value is not."""
        variance = self.variance
        if variance <= _ROUNDING**2:
            return 1.0 if abs(self.value) <= _ROUNDING else None
        return float(2 * ndtr(-abs(self.value) / np.sqrt(variance)))


def mean(parts: list[Components]) -> Components:
    """The mean of several AUROCs on the same patients: seeds of one arm, or labels of one task."""
    return _combined(parts, [1 / len(parts)] * len(parts))


def _combined(parts: list[Components], weights: list[float]) -> Components:
    return Components(
        value=sum(w * part.value for w, part in zip(weights, parts, strict=True)),
        positive=np.sum([w * part.positive for w, part in zip(weights, parts, strict=True)], axis=0),
        negative=np.sum([w * part.negative for w, part in zip(weights, parts, strict=True)], axis=0),
        cross=np.sum([w * part.cross for w, part in zip(weights, parts, strict=True)], axis=0),
    )


def too_few(truth: Integers, cluster: Integers) -> str | None:
    """Why labels [L, n] have too few patients for the normal approximation, or None when they have enough."""
    for of_label in truth:
        for value, name in ((1, "positive"), (0, "negative")):
            if len(np.unique(cluster[of_label == value])) < MIN_CLASS_PATIENTS:
                return f"no p-value: fewer than {MIN_CLASS_PATIENTS} patients with {name} images"
    return None


def components(truth: Integers, score: Floats, cluster: Integers) -> Components:
    """Steps 1 and 2 for one model and label.

    Args:
        truth: [n] 0 or 1.
        score: [n] higher means more likely positive.
        cluster: [n] index of the image's patient, 0 to patients - 1.

    Raises:
        ValueError: Fewer than two patients have positive, or negative, images.
    """
    positive, negative = truth == 1, truth == 0
    patients = int(cluster.max()) + 1
    ranks = rankdata(score)
    # step 1
    of_positive = (ranks[positive] - rankdata(score[positive])) / negative.sum()
    of_negative = 1 - (ranks[negative] - rankdata(score[negative])) / positive.sum()
    value = float(of_positive.mean())
    # step 2
    u, with_positive = _cluster_sums(of_positive - value, cluster[positive], patients)
    v, with_negative = _cluster_sums(of_negative - value, cluster[negative], patients)
    return Components(
        value=value,
        positive=u * np.sqrt(with_positive / (with_positive - 1)),
        negative=v * np.sqrt(with_negative / (with_negative - 1)),
        cross=np.stack([u, v]),
    )


def _cluster_sums(deviations: Floats, cluster: Integers, patients: int) -> tuple[Floats, int]:
    found = len(np.unique(cluster))
    if found < 2:
        raise ValueError("clustered DeLong needs two patients with positive and two with negative images")
    return np.bincount(cluster, weights=deviations, minlength=patients) / len(deviations), found
