"""Laws that metrics and tests obey on any data."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wardround.common.metrics import delong
from wardround.common.metrics.paired import holm, wilcoxon
from wardround.common.metrics.ranking import ranking_draws
from wardround.common.metrics.resampling import original
from wardround.common.metrics.segmentation import patient_means

unhurried = settings(deadline=None)

images = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda level: level / 8), st.integers(0, 6)),
    min_size=4,
    max_size=40,
)


def arrays(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth, score, name = (np.array(column) for column in zip(*rows, strict=True))
    return truth, score, np.unique(name, return_inverse=True)[1]


@unhurried
@given(images)
def test_auroc_is_the_share_of_ordered_pairs(rows: list[tuple[int, float, int]]) -> None:
    truth, score, cluster = arrays(rows)
    pairs = [(p > n) + 0.5 * (p == n) for p in score[truth == 1] for n in score[truth == 0]]
    found = ranking_draws(truth, score, cluster, original(cluster.max() + 1))[0][0]
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))


@unhurried
@given(images)
def test_auroc_sees_ranks_only_and_mirrors(rows: list[tuple[int, float, int]]) -> None:
    truth, score, cluster = arrays(rows)
    assume(0 < truth.mean() < 1)
    once = original(cluster.max() + 1)
    auroc = ranking_draws(truth, score, cluster, once)[0][0]
    assert ranking_draws(truth, np.exp(score), cluster, once)[0][0] == pytest.approx(auroc)
    assert ranking_draws(truth, -score, cluster, once)[0][0] == pytest.approx(1 - auroc)
    assert ranking_draws(1 - truth, score, cluster, once)[0][0] == pytest.approx(1 - auroc)


@unhurried
@given(images, st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_counting_a_patient_twice_is_listing_the_images_twice(
    rows: list[tuple[int, float, int]], times: list[int]
) -> None:
    truth, score, cluster = arrays(rows)
    counts = np.array(times[: cluster.max() + 1], dtype=np.float64)[:, None]
    listed = np.repeat(np.arange(len(truth)), counts[cluster, 0].astype(int))
    assume(len(listed) and 0 < truth[listed].mean() < 1)
    weighted = ranking_draws(truth, score, cluster, counts)
    repeated = ranking_draws(truth[listed], score[listed], cluster[listed], original(cluster.max() + 1))
    assert np.array(weighted) == pytest.approx(np.array(repeated))


@unhurried
@given(images)
def test_clustered_delong_is_never_more_certain_of_a_mirror_image(rows: list[tuple[int, float, int]]) -> None:
    truth, score, cluster = arrays(rows)
    assume(all(len(np.unique(cluster[truth == value])) > 1 for value in (0, 1)))
    one, mirrored = delong.components(truth, score, cluster), delong.components(1 - truth, -score, cluster)
    assert one.value == pytest.approx(mirrored.value)
    assert one.variance == pytest.approx(mirrored.variance, abs=1e-12)


@unhurried
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    subsets = [s for size in range(1, len(p_values) + 1) for s in combinations(range(len(p_values)), size)]
    expected = [
        max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s) for i in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8))
def test_wilcoxon_does_not_care_which_arm_is_first(values: list[float]) -> None:
    differences = np.array(values)
    assert wilcoxon(differences) == pytest.approx(wilcoxon(-differences))


@unhurried
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30))
def test_patient_means_do_not_depend_on_row_order(rows: list[tuple[float, int]]) -> None:
    values, names = (np.array(column) for column in zip(*rows, strict=True))
    cluster = np.unique(names, return_inverse=True)[1]
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    assert patient_means(values[order], cluster[order]) == pytest.approx(patient_means(values, cluster))
