"""Point estimates against scikit-learn and hand-computed numbers; undefined metrics with their reasons."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from wardround.common.metrics.classification import METRICS, equal_width_bins, label_outcomes
from wardround.common.metrics.resampling import patient_counts


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    truth, cluster = rng.integers(2, size=200), np.sort(np.concatenate([np.arange(60), rng.integers(60, size=140)]))
    scores = np.clip(rng.random((2, 200)) * 0.7 + 0.3 * truth, 0, 1)
    return truth, scores, (scores >= 0.5).astype(np.int64), cluster


def test_values_agree_with_scikit_learn() -> None:
    truth, scores, predicted, cluster = images()
    found = label_outcomes(truth, scores, predicted, cluster, None)
    assert set(found) == set(METRICS)
    for model in range(2):
        expected = {
            "auroc": roc_auc_score(truth, scores[model]),
            "auprc": average_precision_score(truth, scores[model]),
            "sensitivity": recall_score(truth, predicted[model]),
            "specificity": recall_score(truth, predicted[model], pos_label=0),
            "f1": f1_score(truth, predicted[model]),
        }
        for metric, value in expected.items():
            assert found[metric].values[model] == pytest.approx(value, abs=1e-12)
            assert found[metric].draws is None
    assert found["auroc"].value == pytest.approx(np.mean([roc_auc_score(truth, s) for s in scores]))


def test_resamples_agree_with_scikit_learn_and_average_the_models() -> None:
    truth, scores, predicted, cluster = images()
    counts = patient_counts(60, 5, np.random.default_rng(0))
    found = label_outcomes(truth, scores, predicted, cluster, counts)
    for column in range(5):
        weight = counts[cluster, column]
        f1 = np.mean([f1_score(truth, p, sample_weight=weight) for p in predicted])
        specificity = np.mean([recall_score(truth, p, pos_label=0, sample_weight=weight) for p in predicted])
        auroc = np.mean([roc_auc_score(truth, s, sample_weight=weight) for s in scores])
        for metric, value in (("f1", f1), ("specificity", specificity), ("auroc", auroc)):
            draws = found[metric].draws
            assert draws is not None
            assert draws[column] == pytest.approx(value, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    truth, score = np.array([0, 1, 1, 0]), np.array([[0.01, 0.05, 0.5, 1.0]])
    found = label_outcomes(truth, score, (score >= 0.5).astype(np.int64), np.arange(4), None)["ece"]
    # bin 0: mean 0.03, frequency 0.5, two of four images; bin 7: 0.5 against 1; bin 14: 1 against 0
    assert found.value == pytest.approx(0.5 * 0.47 + 0.25 * 0.5 + 0.25 * 1.0)


def test_calibration_error_has_no_resamples_but_the_others_have() -> None:
    truth, scores, predicted, cluster = images()
    found = label_outcomes(truth, scores, predicted, cluster, patient_counts(60, 5, np.random.default_rng(0)))
    assert {metric for metric, of in found.items() if of.draws is None} == {"ece"}


def test_the_last_bin_holds_probability_one() -> None:
    assert equal_width_bins(np.array([0.0, 1 / 15, 0.999, 1.0])).tolist() == [0, 1, 14, 14]


@pytest.mark.parametrize(
    ("only", "undefined", "reason"),
    [
        (1, {"auroc", "auprc", "specificity", "f1"}, "no negative images at this site"),
        (0, {"auroc", "auprc", "sensitivity", "f1"}, "no positive images at this site"),
    ],
)
def test_a_missing_class_is_undefined_with_a_reason(only: int, undefined: set[str], reason: str) -> None:
    truth, scores, predicted, cluster = images()
    counts = patient_counts(60, 7, np.random.default_rng(0))
    assert all(of.value is not None for of in label_outcomes(truth, scores, predicted, cluster, counts).values())
    found = label_outcomes(np.full(200, only), scores, predicted, cluster, counts)
    assert {metric for metric, of in found.items() if of.value is None} == undefined
    assert all(found[metric].reason == reason and found[metric].patients.sum() == 0 for metric in undefined)


def test_patients_are_those_the_metric_asks_about() -> None:
    truth, cluster = np.array([1, 0, 0, 0, 1]), np.array([0, 0, 1, 2, 3])
    score = np.array([[0.9, 0.1, 0.2, 0.8, 0.7]])
    found = label_outcomes(truth, score, (score >= 0.5).astype(np.int64), cluster, None)
    patients = {metric: found[metric].pooled_patients for metric in ("auroc", "sensitivity", "specificity", "ece")}
    assert patients == {"auroc": 4, "sensitivity": 2, "specificity": 3, "ece": 4}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("truth", np.full(200, 2), "0 or 1"),
        ("scores", np.full((2, 200), np.nan), "probabilities"),
        ("scores", np.full((2, 200), 1.5), "probabilities"),
        ("predicted", np.full((2, 200), 3), "0 or 1"),
        ("predicted", np.zeros((1, 200), dtype=np.int64), "same shape"),
        ("cluster", np.zeros(199, dtype=np.int64), r"\[n\]"),
    ],
)
def test_impossible_arrays_are_bugs(field: str, value: np.ndarray, message: str) -> None:
    arrays = dict(zip(("truth", "scores", "predicted", "cluster"), images(), strict=True))
    assert label_outcomes(**arrays, counts=None)["auroc"].value is not None
    with pytest.raises(ValueError, match=message):
        label_outcomes(**(arrays | {field: value}), counts=None)
