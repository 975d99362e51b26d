"""Resampling patients, and the intervals made of resamples."""

import numpy as np
import pytest
from scipy.stats import norm

from wardround.common.metrics.ranking import ranking_draws
from wardround.common.metrics.resampling import centred_interval, interval, patient_counts, stratified_interval


def test_counts_are_multinomial() -> None:
    counts = patient_counts(30, 4000, np.random.default_rng(0))
    assert counts.shape == (30, 4000)
    assert (counts.sum(axis=0) == 30).all()
    assert counts.mean(axis=1) == pytest.approx(np.ones(30), abs=0.07)
    assert counts.var() == pytest.approx(1 - 1 / 30, abs=0.02)


def test_the_same_generator_state_gives_the_same_resamples() -> None:
    first = patient_counts(9, 50, np.random.default_rng(5))
    assert (first == patient_counts(9, 50, np.random.default_rng(5))).all()
    assert (first != patient_counts(9, 50, np.random.default_rng(6))).any()


@pytest.mark.parametrize(("patients", "resamples"), [(0, 10), (10, 0)])
def test_nothing_to_draw_is_a_bug(patients: int, resamples: int) -> None:
    assert patient_counts(10, 10, np.random.default_rng(0)).shape == (10, 10)
    with pytest.raises(ValueError, match="at least one"):
        patient_counts(patients, resamples, np.random.default_rng(0))


def test_interval_is_the_central_95_percent() -> None:
    assert interval(np.linspace(0.0, 1.0, 1001), patients=5) == ((pytest.approx(0.025), pytest.approx(0.975)), None)


def test_undefined_resamples_are_dropped_up_to_five_percent() -> None:
    draws = np.linspace(0.0, 1.0, 1000)
    draws[:50] = np.nan
    found, reason = interval(draws, patients=20)
    assert found is not None
    assert found[0] > draws[50]
    assert reason is None
    draws[50] = np.nan
    assert interval(draws, patients=20) == (None, "no interval: undefined in 5% of the resamples")


def test_too_few_patients_have_no_interval() -> None:
    draws = np.linspace(0.0, 1.0, 1000)
    assert interval(draws, patients=5)[0] is not None
    assert interval(draws, patients=4) == (None, "no interval: fewer than 5 patients")


def test_resamples_that_all_agree_claim_no_certainty() -> None:
    assert interval(np.ones(1000), patients=40) == (None, "no interval: every resample gives the same value")
    assert centred_interval(np.ones(1000), 40, 1.0)[0] is None


def test_a_mean_over_sites_says_when_a_site_has_a_handful_of_patients() -> None:
    draws = np.linspace(0.0, 1.0, 1001)
    assert stratified_interval(draws, [5, 30]) == interval(draws, 35)
    few, reason = stratified_interval(draws, [3, 30])
    assert few == interval(draws, 33)[0]
    assert reason == "interval somewhat too narrow: a site has 3 patients"
    assert stratified_interval(draws, [1, 30]) == (None, "no interval: a site has a single patient")


def test_centred_interval_has_the_longer_arm_on_both_sides() -> None:
    draws = np.linspace(0.0, 1.0, 1001)
    found, reason = centred_interval(draws, 40, 0.2)
    assert reason is None
    assert found == pytest.approx((0.2 - 0.775, 0.2 + 0.775))


def test_centred_interval_covers_a_spread_of_zero_where_the_percentiles_cannot() -> None:
    rng = np.random.default_rng(11)
    plain = centred = 0
    for _ in range(200):
        sites = rng.normal(size=(2, 40))
        draws = np.stack([site @ patient_counts(40, 200, rng) / 40 for site in sites]).std(axis=0, ddof=1)
        of_percentiles, _ = interval(draws, 40)
        found, _ = centred_interval(draws, 40, float(sites.mean(axis=1).std(ddof=1)))
        assert of_percentiles is not None
        assert found is not None
        plain += of_percentiles[0] <= 0
        centred += found[0] <= 0
    assert plain == 0
    assert centred >= 0.88 * 200


def test_resampling_patients_covers_the_true_auroc_where_resampling_images_does_not() -> None:
    """Each patient has one class and a habit of its own, so the true AUROC is that of two normals."""
    rng, studies = np.random.default_rng(12), 300
    true = norm.cdf(1.5 / np.sqrt(2 * (1 + 1)))
    by_patient = by_image = 0
    for _ in range(studies):
        cluster = np.repeat(np.arange(60), rng.integers(1, 6, size=60))
        truth = cluster % 2
        score = 1.5 * truth + rng.normal(size=60)[cluster] + rng.normal(size=len(truth))
        images = np.arange(len(truth))
        found, _ = interval(ranking_draws(truth, score, cluster, patient_counts(60, 200, rng))[0], 60)
        naive, _ = interval(ranking_draws(truth, score, images, patient_counts(len(truth), 200, rng))[0], 60)
        assert found is not None
        assert naive is not None
        by_patient += found[0] <= true <= found[1]
        by_image += naive[0] <= true <= naive[1]
    assert by_patient / studies == pytest.approx(0.93, abs=0.04)
    assert by_image / studies < 0.87
