"""Per-patient means, their resamples and paired differences, by hand."""

import numpy as np
import pytest

from wardround.common.metrics.outcome import over_labels, undefined
from wardround.common.metrics.segmentation import mean_draws, paired_differences, patient_means, patient_outcome

NAN = np.nan


def test_a_patient_with_many_samples_weighs_no_more() -> None:
    cluster = np.array([0, 0, 0, 1])
    means = patient_means(np.array([[0.9, 0.8, 0.7, 0.2]]), cluster)
    assert means == pytest.approx(np.array([[0.8, 0.2]]))
    assert patient_outcome(means, None).value == pytest.approx(0.5)


def test_undefined_samples_and_patients_are_left_out_and_counted() -> None:
    cluster = np.array([0, 0, 1, 2])
    means = patient_means(np.array([[4.0, NAN, NAN, 8.0], [2.0, 4.0, NAN, 5.0]]), cluster)
    assert means[0, [0, 2]] == pytest.approx([4.0, 8.0])
    assert means[1, [0, 2]] == pytest.approx([3.0, 5.0])
    assert np.isnan(means[:, 1]).all()
    outcome = patient_outcome(means, None)
    assert outcome.values == pytest.approx([6.0, 4.0])
    assert outcome.value == pytest.approx(5.0)
    assert (outcome.patients.tolist(), outcome.pooled_patients, outcome.eligible) == ([2, 2], 2, 3)


def test_leading_axes_are_kept() -> None:
    values = np.random.default_rng(0).random((2, 3, 7))
    cluster = np.array([0, 1, 1, 2, 0, 2, 2])
    means = patient_means(values, cluster)
    assert means.shape == (2, 3, 3)
    assert means[1, 2, 1] == pytest.approx(values[1, 2, 1:3].mean())


def test_undefined_for_every_patient_has_a_reason() -> None:
    assert patient_outcome(np.array([[NAN, 1.0]]), None).value == 1.0
    outcome = patient_outcome(np.array([[NAN, NAN]]), np.ones((2, 4)))
    assert outcome.value is None
    assert outcome.reason == "undefined for every patient"


def test_resamples_weight_defined_patients_by_their_counts() -> None:
    counts = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 3.0], [1.0, 1.0, 0.0]])
    draws = mean_draws(np.array([0.2, NAN, 0.8]), counts)
    assert draws[:2] == pytest.approx([0.4, 0.8])
    assert np.isnan(draws[2])


def test_differences_are_taken_where_both_arms_are_defined() -> None:
    a = np.array([[[0.9, NAN, 0.5]], [[0.7, NAN, 0.5]]])
    b = np.array([[[0.5, 0.3, NAN]], [[0.5, 0.3, 0.1]]])
    found = paired_differences(a, b)
    assert found[[0, 2]] == pytest.approx([0.3, 0.4])
    assert np.isnan(found[1])


def test_differences_of_other_shapes_are_bugs() -> None:
    assert paired_differences(np.ones((1, 1, 2)), np.ones((1, 1, 2))).tolist() == [0, 0]
    with pytest.raises(ValueError, match="same models"):
        paired_differences(np.ones((1, 1, 2)), np.ones((2, 1, 2)))


def test_the_mean_over_labels_names_the_labels_it_leaves_out() -> None:
    first = patient_outcome(np.array([[0.4, 0.6]]), np.ones((2, 3)))
    second = patient_outcome(np.array([[0.8, 1.0]]), np.ones((2, 3)))
    both = over_labels([first, second], ["lung", "heart"])
    assert both.value == pytest.approx(0.7)
    assert both.draws == pytest.approx(np.full(3, 0.7))
    assert both.reason is None
    one = over_labels([first, undefined(1, 3, "absent")], ["lung", "heart"])
    assert one.value == pytest.approx(0.5)
    assert one.reason == "without heart, where it is undefined"
    none = over_labels([undefined(1, 3, "absent")], ["lung"])
    assert (none.value, none.reason) == (None, "undefined for every label")
