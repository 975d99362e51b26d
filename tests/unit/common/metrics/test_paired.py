"""Paired tests against enumeration and textbook numbers."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from scipy.stats import rankdata
from scipy.stats import t as student

from wardround.common.metrics.paired import holm, paired_t, wilcoxon


def signed_rank_by_enumeration(differences: np.ndarray) -> float:
    ranks = rankdata(np.abs(differences))
    observed = ranks[differences > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=len(ranks))])
    return min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))


def test_wilcoxon_is_exact_for_few_patients() -> None:
    differences = np.array([0.11, -0.02, 0.05, 0.08, 0.30, -0.01, 0.07, 0.21, 0.045, 0.09])
    assert wilcoxon(differences) == pytest.approx(signed_rank_by_enumeration(differences))


def test_wilcoxon_discards_zeros_and_rounding_errors() -> None:
    differences = np.array([0.11, -0.02, 0.05, 0.08, 0.30, -0.01, 0.07])
    padded = np.concatenate([differences, [0.0, 1e-17, -1e-16]])
    assert wilcoxon(padded) == wilcoxon(differences)


def test_no_difference_at_all_has_p_one() -> None:
    assert wilcoxon(np.zeros(12)) == 1.0
    assert paired_t(np.zeros(12)) == 1.0
    assert paired_t(np.full(12, 1e-17)) == 1.0


def test_paired_t_by_its_formula() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.4, 0.1])
    statistic = differences.mean() / (differences.std(ddof=1) / sqrt(5))
    assert paired_t(differences) == pytest.approx(2 * student.sf(abs(statistic), df=4))


def test_equal_differences_have_no_t_test() -> None:
    assert paired_t(np.array([0.2, 0.2, 0.3])) is not None
    assert paired_t(np.full(12, 0.2)) is None


def test_one_difference_is_a_bug() -> None:
    assert paired_t(np.array([0.1, 0.3])) is not None
    with pytest.raises(ValueError, match="two differences"):
        paired_t(np.array([0.1]))


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last may not fall below the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_holm_refuses_what_is_no_p_value() -> None:
    assert holm([0.0, 1.0]) == [0.0, 1.0]
    for wrong in (1.1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm([0.5, wrong])
