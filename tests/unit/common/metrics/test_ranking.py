"""AUROC and AUPRC of every resample against scikit-learn's weighted ones."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from wardround.common.metrics.ranking import ranking_draws
from wardround.common.metrics.resampling import original, patient_counts


def images(seed: int, *, levels: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, cluster = rng.integers(2, size=120), rng.integers(40, size=120)
    score = rng.random(120) * 0.7 + 0.3 * truth
    return truth, score if levels is None else np.round(score * levels) / levels, cluster


@pytest.mark.parametrize("levels", [None, 4])
def test_every_resample_agrees_with_scikit_learn(levels: int | None) -> None:
    truth, score, cluster = images(1, levels=levels)
    counts = patient_counts(40, 70, np.random.default_rng(2))
    auroc, auprc = ranking_draws(truth, score, cluster, counts)
    for column in range(70):
        weight = counts[cluster, column]
        assert auroc[column] == pytest.approx(roc_auc_score(truth, score, sample_weight=weight), abs=1e-12)
        assert auprc[column] == pytest.approx(average_precision_score(truth, score, sample_weight=weight), abs=1e-12)


def test_each_patient_once_is_the_metric_itself() -> None:
    truth, score, cluster = images(3, levels=6)
    auroc, auprc = ranking_draws(truth, score, cluster, original(40))
    assert auroc[0] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert auprc[0] == pytest.approx(average_precision_score(truth, score), abs=1e-12)


def test_a_resample_without_a_class_is_undefined_and_the_others_are_not() -> None:
    truth, score, cluster = np.array([1, 0, 0]), np.array([0.9, 0.1, 0.95]), np.array([0, 1, 2])
    counts = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    auroc, auprc = ranking_draws(truth, score, cluster, counts)
    assert np.isnan(auroc).tolist() == np.isnan(auprc).tolist() == [True, True, False]
    assert auroc[2] == 0.5
    assert auprc[2] == 0.5
