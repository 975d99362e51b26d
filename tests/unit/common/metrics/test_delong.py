"""Clustered DeLong against brute force over pairs, the bootstrap, and its own null distribution."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from wardround.common.metrics import delong
from wardround.common.metrics.ranking import ranking_draws
from wardround.common.metrics.resampling import patient_counts


def kernel(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    return (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)


def delong_1988(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Covariance matrix of two AUROCs of independent images, over all pairs, as printed in the paper."""
    wins = np.stack([kernel(score[truth == 1], score[truth == 0]) for score in (a, b)])
    of_positive, of_negative = wins.mean(axis=2), wins.mean(axis=1)
    return np.cov(of_positive) / of_positive.shape[1] + np.cov(of_negative) / of_negative.shape[1]


def obuchowski_1997(truth: np.ndarray, a: np.ndarray, b: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Covariance matrix of two AUROCs of clustered images, patient by patient, as printed in the paper."""
    names = np.unique(cluster)
    many, some, none = len(names), len(np.unique(cluster[truth == 1])), len(np.unique(cluster[truth == 0]))
    positives, negatives = (truth == 1).sum(), (truth == 0).sum()
    x, y = np.zeros((2, many)), np.zeros((2, many))
    for r, score in enumerate((a, b)):
        wins = kernel(score[truth == 1], score[truth == 0])
        area = wins.mean()
        for i, name in enumerate(names):
            of_positive = wins.mean(axis=1)[cluster[truth == 1] == name]
            of_negative = wins.mean(axis=0)[cluster[truth == 0] == name]
            x[r, i] = of_positive.sum() - len(of_positive) * area
            y[r, i] = of_negative.sum() - len(of_negative) * area
    s10 = some / ((some - 1) * positives) * x @ x.T
    s01 = none / ((none - 1) * negatives) * y @ y.T
    s11 = many / (many - 1) * x @ y.T
    return s10 / positives + s01 / negatives + (s11 + s11.T) / (positives * negatives)


def clustered(seed: int, patients: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patients of 1 to 5 images; a third of the patients carry both classes; scores with ties."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(patients), rng.integers(1, 6, size=patients))
    truth = np.where(cluster % 3 == 2, rng.integers(2, size=len(cluster)), cluster % 3)
    habit = rng.normal(size=patients)[cluster]
    a, b = (np.round(1.2 * truth + habit + rng.normal(size=len(cluster)), 1) for _ in range(2))
    return truth, a, b, cluster


def test_clusters_of_one_image_give_delong_1988() -> None:
    truth, a, b, _ = clustered(1)
    cluster = np.arange(len(truth))
    first, second = (delong.components(truth, score, cluster) for score in (a, b))
    expected = delong_1988(truth, a, b)
    assert first.value == pytest.approx(roc_auc_score(truth, a), abs=1e-12)
    assert first.variance == pytest.approx(expected[0, 0], rel=1e-10)
    assert (first - second).variance == pytest.approx(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1], rel=1e-10)


def test_clusters_give_obuchowski_1997() -> None:
    truth, a, b, cluster = clustered(2)
    first, second = (delong.components(truth, score, cluster) for score in (a, b))
    expected = obuchowski_1997(truth, a, b, cluster)
    assert second.variance == pytest.approx(expected[1, 1], rel=1e-10)
    assert (first - second).variance == pytest.approx(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1], rel=1e-10)
    assert expected[0, 0] != pytest.approx(delong_1988(truth, a, b)[0, 0], rel=0.05)


def test_variance_agrees_with_the_patient_bootstrap() -> None:
    truth, a, b, cluster = clustered(3, patients=150)
    counts = patient_counts(150, 3000, np.random.default_rng(0))
    draws = [ranking_draws(truth, score, cluster, counts)[0] for score in (a, b)]
    first, second = (delong.components(truth, score, cluster) for score in (a, b))
    assert np.sqrt(first.variance) == pytest.approx(np.std(draws[0]), rel=0.07)
    assert np.sqrt((first - second).variance) == pytest.approx(np.std(draws[0] - draws[1]), rel=0.07)


def test_copies_of_a_patients_images_add_no_information() -> None:
    truth, a, b, cluster = clustered(4)
    single = delong.components(truth, a, cluster) - delong.components(truth, b, cluster)
    truth, a, b, cluster = (np.tile(values, 3) for values in (truth, a, b, cluster))
    copied = delong.components(truth, a, cluster) - delong.components(truth, b, cluster)
    assert copied.variance == pytest.approx(single.variance, rel=1e-10)
    alone = np.arange(len(truth))
    naive = delong.components(truth, a, alone) - delong.components(truth, b, alone)
    assert naive.variance < 0.5 * single.variance


def test_the_mean_over_seeds_is_the_mean_of_their_aurocs_with_their_joint_variance() -> None:
    truth, a, b, cluster = clustered(5)
    both = delong.mean([delong.components(truth, score, cluster) for score in (a, b)])
    expected = obuchowski_1997(truth, a, b, cluster)
    assert both.value == pytest.approx((roc_auc_score(truth, a) + roc_auc_score(truth, b)) / 2, abs=1e-12)
    assert both.variance == pytest.approx(expected.sum() / 4, rel=1e-10)


def test_the_mean_over_labels_agrees_with_the_patient_bootstrap() -> None:
    truth, a, b, cluster = clustered(6, patients=150)
    other = 1 - truth
    other[cluster % 5 == 0] = 0
    both = delong.mean([delong.components(truth, a, cluster), delong.components(other, b, cluster)])
    counts = patient_counts(150, 3000, np.random.default_rng(0))
    draws = ranking_draws(truth, a, cluster, counts)[0] + ranking_draws(other, b, cluster, counts)[0]
    assert np.sqrt(both.variance) == pytest.approx(np.std(draws / 2), rel=0.07)


def rejections(shift: float) -> float:
    """Share of p below 0.05 in 400 studies of 40 patients whose arms differ by ``shift``."""
    rng, rejected = np.random.default_rng(8), 0
    for _ in range(400):
        cluster = np.repeat(np.arange(40), rng.integers(1, 6, size=40))
        truth = np.where(cluster % 4 == 3, rng.integers(2, size=len(cluster)), cluster % 2)
        signal = 1.2 * truth + rng.normal(size=40)[cluster]
        a = signal + shift * truth + 0.5 * rng.normal(size=40)[cluster] + 0.7 * rng.normal(size=len(cluster))
        b = signal + 0.5 * rng.normal(size=40)[cluster] + 0.7 * rng.normal(size=len(cluster))
        p = (delong.components(truth, a, cluster) - delong.components(truth, b, cluster)).p_value()
        rejected += p is not None and p < 0.05
    return rejected / 400


def test_type_one_error_is_near_five_percent_and_a_true_difference_is_found() -> None:
    assert 0.025 <= rejections(0.0) <= 0.085
    assert rejections(1.0) > 0.6


def test_identical_scores_differ_by_nothing_with_p_one() -> None:
    truth, a, b, cluster = clustered(7)
    one = delong.components(truth, a, cluster)
    assert (one - one).value == 0
    assert (one - one).p_value() == 1.0
    assert (one - delong.components(truth, b, cluster)).p_value() not in (None, 1.0)


def test_a_difference_without_variance_has_no_p() -> None:
    truth, cluster = np.array([0, 0, 1, 1]), np.arange(4)
    perfect, inverted = (delong.components(truth, score, cluster) for score in (truth * 1.0, -truth * 1.0))
    assert (perfect - inverted).value == 1.0
    assert (perfect - inverted).p_value() is None


def test_one_patient_with_a_class_is_a_bug() -> None:
    truth, score = np.array([1, 1, 0, 0]), np.array([0.1, 0.8, 0.3, 0.2])
    assert delong.components(truth, score, np.array([0, 1, 2, 3])).variance > 0
    with pytest.raises(ValueError, match="two patients"):
        delong.components(truth, score, np.array([0, 0, 1, 2]))


def test_too_few_patients_of_a_class_are_named() -> None:
    truth = np.array([[1] * 5 + [0] * 5])
    assert delong.too_few(truth, np.arange(10)) is None
    few = delong.too_few(truth, np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 8]))
    assert few == "no p-value: fewer than 5 patients with negative images"
