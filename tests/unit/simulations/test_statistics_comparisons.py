"""Test rows: the right test on the right patients, corrected once over its kind, or a reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from wardround.common.errors import WardroundError
from wardround.common.metrics import delong
from wardround.common.metrics.paired import holm
from wardround.common.study import Study, build_study
from wardround.simulations import statistics

ARMS = ("federated", "centralised", "local/north")
SITES = ("north", "south", "west", "abroad")
TRAINED = SITES[:3]


def study(kind: str = "classification", **evaluation: Any) -> Study:
    target = {"target": "binary"} if kind == "classification" else {}
    return build_study(
        {
            "schema": 1,
            "name": "example",
            "title": "Example",
            "sites": list(TRAINED),
            "task": {"kind": kind, "labels": ["finding"], "dimensions": 2} | target,
            "input": {"size": [32, 32]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 1, "epochs": 1, "loss": "bce" if target else "dice_ce"},
            "evaluation": {"bootstrap": 300} | evaluation,
        }
    )


def classified(patients: int = 40, quality: tuple[float, ...] = (2.0, 1.5, 0.3)) -> pd.DataFrame:
    """Three images a patient, two seeds; site west has no negatives; arms differ in ``quality``."""
    parts = []
    for site in SITES:
        of_site = np.random.default_rng(SITES.index(site))
        patient = np.repeat(np.arange(patients), 3)
        truth = np.ones(len(patient), int) if site == "west" else of_site.integers(2, size=len(patient))
        habit = of_site.normal(size=patients)[patient]
        for number, arm in enumerate(ARMS):
            for seed in (0, 1):
                noise = np.random.default_rng([number, seed, SITES.index(site)]).normal(size=len(patient))
                score = 1 / (1 + np.exp(-(quality[number] * (truth - 0.5) + habit + noise)))
                part = {"patient": patient, "sample": np.arange(len(patient)), "truth": truth, "score": score}
                part |= {"arm": arm, "seed": seed, "fold": None, "test_site": site, "label": "finding"}
                parts.append(pd.DataFrame(part | {"predicted": (score >= 0.5).astype(int)}))
    return pd.concat(parts, ignore_index=True)


def segmented(patients: int = 14, undefined: int = 0) -> pd.DataFrame:
    """Two samples a patient, two seeds; Dice of the first ``undefined`` patients is undefined."""
    parts = []
    for site in SITES:
        for number, arm in enumerate(ARMS):
            for seed in (0, 1):
                drawn = np.random.default_rng([number, seed, SITES.index(site)])
                patient = np.repeat(np.arange(patients), 2)
                dice = drawn.uniform(0.7, 0.9, size=len(patient)) - 0.03 * number
                part = {"patient": patient, "sample": np.arange(len(patient)), "arm": arm, "seed": seed, "fold": None}
                part |= {"test_site": site, "label": "finding", "dice": np.where(patient < undefined, np.nan, dice)}
                parts.append(pd.DataFrame(part | {"hd95_mm": 1.0, "surface_dice": 0.9, "volume_error_ml": 2.0}))
    return pd.concat(parts, ignore_index=True)


def run(cases: pd.DataFrame, study: Study, arms: tuple[str, ...] = ARMS) -> list[Any]:
    return statistics.test_rows(cases, study, arms, TRAINED, SITES)


def find(rows: list[Any], **fields: Any) -> Any:
    found = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(found) == 1, fields
    return found[0]


def components(cases: pd.DataFrame, arm: str, site: str) -> delong.Components:
    part = cases[(cases["arm"] == arm) & (cases["test_site"] == site)]
    return delong.mean(
        [
            delong.components(of["truth"].to_numpy(), of["score"].to_numpy(), of["patient"].to_numpy())
            for _, of in part.groupby("seed")
        ]
    )


def test_auroc_is_compared_by_clustered_delong_over_seeds() -> None:
    cases = classified()
    rows = run(cases, study())
    row = find(rows, b="local/north", test_site="south", test="clustered_delong")
    expected = components(cases, "federated", "south") - components(cases, "local/north", "south")
    assert (row.a, row.metric, row.label, row.patients) == ("federated", "auroc", "finding", 40)
    assert row.difference == pytest.approx(expected.value)
    assert row.p == pytest.approx(expected.p_value())
    assert row.p < 0.01
    assert 0 < row.ci95[0] < row.difference < row.ci95[1]


def test_every_other_arm_is_compared_on_every_site_and_over_sites() -> None:
    rows = run(classified(), study())
    assert [(row.b, row.test_site) for row in rows if row.test == "clustered_delong"] == [
        (arm, site) for arm in ARMS[1:] for site in SITES
    ]
    over = [(row.b, row.test_site) for row in rows if row.test == "stratified_bootstrap"]
    assert over == [(arm, summary) for arm in ARMS[1:] for summary in ("mean", "worst")]
    assert run(classified(), study(), arms=ARMS[1:]) == []


def test_holm_runs_over_all_tests_of_one_kind() -> None:
    rows = run(classified(), study())
    tested = [row for row in rows if row.p is not None]
    assert len(tested) == 6
    assert [row.p_holm for row in tested] == holm([row.p for row in tested])
    assert all(row.p_holm is None for row in rows if row.p is None)
    rows = run(segmented(), study("segmentation"))
    for kind in ("wilcoxon", "paired_t"):
        tested = [row for row in rows if row.test == kind]
        assert len(tested) == 8
        assert [row.p_holm for row in tested] == holm([row.p for row in tested])


def test_the_mean_and_the_worst_site_are_compared_by_interval_only() -> None:
    cases = classified()
    rows = run(cases, study())
    metrics = statistics.metric_rows(cases, study(), ARMS, SITES)
    for summary in ("mean", "worst"):
        row = find(rows, b="local/north", test_site=summary)
        of = {"test_site": summary, "metric": "auroc", "seed": None}
        a, b = find(metrics, arm="federated", **of), find(metrics, arm="local/north", **of)
        assert row.difference == pytest.approx(a.value - b.value)
        assert 0 < row.ci95[0] < row.difference < row.ci95[1]
        assert (row.p, row.reason) == (None, "interval only; without west, where it is undefined")
        assert row.patients == 80


def test_a_site_without_negatives_is_not_compared() -> None:
    row = find(run(classified(), study()), b="centralised", test_site="west", test="clustered_delong")
    assert (row.difference, row.ci95, row.p) == (None, None, None)
    assert row.reason == "no negative images at this site"


def test_identical_arms_differ_by_nothing() -> None:
    cases = classified()
    federated = cases[cases["arm"] == "federated"]
    same = pd.concat([federated, federated.assign(arm="centralised")], ignore_index=True)
    row = find(run(same, study(), arms=ARMS[:2]), test_site="north")
    assert (row.difference, row.p, row.p_holm, row.ci95) == (0.0, 1.0, 1.0, None)
    assert row.reason == "no interval: every resample gives the same value"


def test_dice_is_compared_per_patient() -> None:
    cases = segmented()
    rows = run(cases, study("segmentation"))
    part = cases[cases["test_site"] == "south"]
    per_patient = part.pivot_table(index="patient", columns="arm", values="dice", aggfunc="mean")
    differences = (per_patient["federated"] - per_patient["local/north"]).to_numpy()
    row = find(rows, b="local/north", test_site="south", test="wilcoxon")
    assert row.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    other = find(rows, b="local/north", test_site="south", test="paired_t")
    assert other.p == pytest.approx(stats.ttest_rel(per_patient["federated"], per_patient["local/north"]).pvalue)
    for found in (row, other):
        assert found.difference == pytest.approx(differences.mean())
        assert found.ci95[0] < found.difference < found.ci95[1]
        assert (found.patients, found.metric, found.reason) == (14, "dice", None)


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_no_p_below_the_studys_minimum_of_patients(kind: str) -> None:
    make = classified if kind == "classification" else segmented
    enough = run(make(patients=12), study(kind, test_min_patients=12))
    few = run(make(patients=12), study(kind, test_min_patients=13))
    for row, twin in zip(few, enough, strict=True):
        assert row.p is None
        assert (row.difference, row.ci95, row.patients) == (twin.difference, twin.ci95, twin.patients)
        if twin.p is not None:
            assert row.reason == "no p-value: 12 patients, the study asks for 13"
    assert any(row.p is not None for row in enough)


def test_patients_without_dice_do_not_count_towards_the_minimum() -> None:
    row = find(run(segmented(undefined=4), study("segmentation")), b="centralised", test_site="north", test="wilcoxon")
    assert row.patients == 10
    assert row.p is not None
    assert row.reason == "without 4 of 14 patients, where Dice is undefined"
    row = find(run(segmented(undefined=5), study("segmentation")), b="centralised", test_site="north", test="wilcoxon")
    assert row.p is None
    assert "no p-value: 9 patients" in row.reason


def test_few_patients_of_one_class_have_no_p() -> None:
    cases = classified()
    few = cases.assign(truth=np.where(cases["patient"] < 4, cases["truth"], 1))
    row = find(run(few, study()), b="centralised", test_site="north", test="clustered_delong")
    assert row.p is None
    assert "fewer than 5 patients with negative images" in row.reason
    assert row.difference is not None
    assert find(run(cases, study()), b="centralised", test_site="north", test="clustered_delong").p is not None


def test_intervals_can_be_switched_off_without_losing_tests() -> None:
    for kind, cases in (("classification", classified()), ("segmentation", segmented())):
        rows = run(cases, study(kind, intervals=False))
        twins = run(cases, study(kind))
        assert all(row.ci95 is None for row in rows)
        assert any(twin.ci95 for twin in twins)
        assert [(row.difference, row.p) for row in rows] == [(twin.difference, twin.p) for twin in twins]


def test_an_arm_that_was_not_scored_on_a_site_is_named() -> None:
    cases = classified()
    cases = cases[(cases["arm"] != "centralised") | (cases["test_site"] != "south")]
    rows = run(cases, study())
    row = find(rows, b="centralised", test_site="south")
    assert (row.p, row.reason) == (None, "one of the two arms has no predictions on this site")
    assert find(rows, b="local/north", test_site="south").p is not None
    assert find(rows, b="centralised", test_site="mean").reason == (
        "interval only; without west, where it is undefined; without south, which was not scored"
    )


def test_arms_scored_on_other_samples_are_refused() -> None:
    cases = classified()
    assert run(cases, study(intervals=False))
    with pytest.raises(WardroundError) as error:
        run(cases.drop(index=3), study(intervals=False))
    assert error.value.code == "WR-1402"
