"""Thresholds are chosen on one half and judged on the other; quality against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from wardround.simulations.attacks.leakage.bounds import any_epsilon, clopper_pearson
from wardround.simulations.attacks.leakage.membership import quality
from wardround.simulations.attacks.leakage.runs import compared, rotated
from wardround.simulations.attacks.leakage.scores import Scores, surest_errors, tight_errors


def shifted(mu: float, count: int = 2000, seed: int = 0) -> Scores:
    generator = np.random.default_rng(seed)
    present = generator.random(count) < 0.5
    return Scores(present, generator.normal(size=count) + mu * present)


def test_separable_scores_are_separated_on_the_other_half() -> None:
    found = shifted(50.0)
    present = int(found.present[1::2].sum())
    errors = tight_errors(found, 0.01)
    assert errors.hits == pytest.approx(clopper_pearson(present, present, 0.005)[0])
    assert errors.alarms == pytest.approx(clopper_pearson(0, 1000 - present, 0.005)[1])


def test_the_half_that_is_judged_did_not_choose_the_threshold() -> None:
    """Scores that separate the first half and mean nothing on the second show nothing."""
    found = shifted(0.0)
    scores = found.scores.copy()
    scores[::2] += 50 * found.present[::2]
    errors = tight_errors(Scores(found.present, scores))
    assert errors.hits <= errors.alarms


def test_the_surest_threshold_shows_more_of_any_mechanism() -> None:
    found = shifted(2.0, count=20_000)
    surest, tight = surest_errors(found, 1e-5, 1e-3), tight_errors(found, 1e-3)
    assert any_epsilon(surest, 1e-5) > any_epsilon(tight, 1e-5) + 0.5


def test_quality_is_that_of_scikit_learn() -> None:
    found = shifted(1.0)
    measured = quality(found)
    assert measured.auc == pytest.approx(roc_auc_score(found.present, found.scores))
    alarms, hits, _ = roc_curve(found.present, found.scores, drop_intermediate=False)
    assert measured.rare_hits == pytest.approx(hits[alarms <= 0.01].max(), abs=0.0021)  # one member
    assert measured.auc_low < measured.auc < measured.auc_high
    assert measured.rare_hits_low < measured.rare_hits


def test_the_bounds_of_the_area_hold() -> None:
    """Scores without meaning: 300 intervals of 99.9% a side; 6 misses or more would happen once in 10^5 runs."""
    measured = [quality(shifted(0.0, count=400, seed=seed)) for seed in range(300)]
    assert sum(not found.auc_low <= 0.5 <= found.auc_high for found in measured) < 6


def test_scores_of_one_patient_count_once() -> None:
    """Every score twice: as many new patients, the interval shrinks; as the same patients, it does not."""
    found = shifted(1.0)
    twice, patients = Scores.joined([found, found]), np.tile(np.arange(len(found.scores)), 2)
    once, new, same = quality(found), quality(twice), quality(twice, patients)
    assert same.auc_low == pytest.approx(once.auc_low)
    assert once.auc - once.auc_low == pytest.approx(np.sqrt(2) * (new.auc - new.auc_low), rel=1e-3)


def test_a_reference_model_counts_where_it_did_not_see_the_patient() -> None:
    target = np.array([True, False, True]), np.array([5.0, 1.0, 9.0])
    first = np.array([False, True, True]), np.array([2.0, 100.0, 100.0])
    second = np.array([False, False, True]), np.array([4.0, 0.5, 100.0])
    found, patients = compared([target, first, second])
    assert found.present.tolist() == [True, False]  # both references saw the third
    assert found.scores.tolist() == [5 - 3, 1 - 0.5]
    assert patients.tolist() == [0, 1]


@pytest.mark.parametrize(("effect", "telling"), [(0.0, False), (1.0, True)])
def test_models_that_remember_their_patients_are_told(effect: float, telling: bool) -> None:  # noqa: FBT001
    """Patients differ in how hard they are by far more than members from others; all models agree on that."""
    generator = np.random.default_rng(3)
    hardness = generator.normal(scale=5, size=400)
    models = []
    for _ in range(4):
        members = generator.random(400) < 0.5
        models.append((members, hardness + generator.normal(size=400) + effect * members))
    finding = rotated(models, 1e-5)
    assert finding.telling is telling
    assert finding.n < 400
    alone = quality(Scores(*models[0]))
    assert alone.auc < 0.65, "the positive control: without reference models hardness hides it"
