"""Metric rows from a case table, against scikit-learn and numpy on the same table."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from wardround.common.errors import WardroundError
from wardround.common.study import Study, build_study
from wardround.simulations import statistics

ARMS = ("federated", "centralised", "local/north")
SITES = ("north", "south", "west", "abroad")
TRAINED = SITES[:3]


def classification(labels: tuple[str, ...] = ("abnormal",), **evaluation: Any) -> Study:
    target, loss = ("binary", "bce") if len(labels) == 1 else ("multilabel", "bce")
    task = {"kind": "classification", "target": target, "labels": list(labels), "dimensions": 2}
    return study(task, loss, evaluation)


def segmentation(labels: tuple[str, ...] = ("lung",), **evaluation: Any) -> Study:
    return study({"kind": "segmentation", "labels": list(labels), "dimensions": 2}, "dice_ce", evaluation)


def study(task: dict[str, Any], loss: str, evaluation: dict[str, Any]) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "example",
            "title": "Example",
            "sites": list(TRAINED),
            "task": task,
            "input": {"size": [32, 32]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 1, "epochs": 1, "loss": loss},
            "evaluation": {"bootstrap": 200} | evaluation,
        }
    )


def scored(
    *,
    arms: tuple[str, ...] = ARMS,
    seeds: tuple[int, ...] = (0, 1),
    folds: int = 1,
    labels: tuple[str, ...] = ("abnormal",),
    patients: int = 40,
    sites: tuple[str, ...] = SITES,
) -> pd.DataFrame:
    """Two images a patient; site west has no negative images, abroad is scored by every fold."""
    rows: list[dict[str, Any]] = []
    for site in sites:
        drawn = np.random.default_rng([SITES.index(site), 7])
        truth = (
            np.ones((patients * 2, len(labels)), int)
            if site == "west"
            else drawn.integers(2, size=(patients * 2, len(labels)))
        )
        for number, arm in enumerate(arms):
            for seed in seeds:
                noise = np.random.default_rng([number, seed, SITES.index(site)])
                for fold in range(folds):
                    for image in range(patients * 2):
                        patient = image // 2
                        if site != "abroad" and patient % folds != fold:
                            continue
                        for index, label in enumerate(labels):
                            score = 1 / (1 + np.exp(-noise.normal(1.2 * truth[image, index] - 0.6)))
                            rows.append(
                                {
                                    "arm": arm,
                                    "seed": seed,
                                    "fold": fold if folds > 1 else None,
                                    "test_site": site,
                                    "patient": f"{site}-{patient}",
                                    "sample": f"row-{image + 2}",
                                    "label": label,
                                    "truth": truth[image, index],
                                    "score": score,
                                    "predicted": int(score >= 0.5),
                                }
                            )
    return pd.DataFrame(rows)


def segmented(patients: int = 12) -> pd.DataFrame:
    """Patient 0 has three samples; HD95 is undefined for patient 1 in all arms."""
    rows: list[dict[str, Any]] = []
    for site in SITES:
        for number, arm in enumerate(ARMS):
            for seed in (0, 1):
                noise = np.random.default_rng([number, seed, SITES.index(site)])
                for sample, patient in enumerate([0, 0, *range(patients)]):
                    rows.append(
                        {
                            "arm": arm,
                            "seed": seed,
                            "fold": None,
                            "test_site": site,
                            "patient": f"p{patient}",
                            "sample": f"row-{sample}",
                            "label": "lung",
                            "dice": noise.uniform(0.6, 0.9),
                            "hd95_mm": None if patient == 1 else noise.uniform(1, 9),
                            "surface_dice": noise.uniform(0.6, 0.9),
                            "volume_error_ml": noise.uniform(0, 30),
                        }
                    )
    return pd.DataFrame(rows)


def find(rows: list[Any], **fields: Any) -> Any:
    found = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(found) == 1, fields
    return found[0]


def auroc(cases: pd.DataFrame, **fields: Any) -> float:
    for name, value in fields.items():
        cases = cases[cases[name] == value]
    return float(roc_auc_score(cases["truth"].astype(int), cases["score"]))


def test_seed_rows_pool_out_of_fold_predictions_and_the_pooled_row_is_their_mean() -> None:
    cases = scored(folds=4)
    rows = statistics.metric_rows(cases, classification(), ARMS, SITES)
    place = {"arm": "centralised", "test_site": "south", "label": "abnormal", "metric": "auroc"}
    by_seed = [auroc(cases, arm="centralised", test_site="south", seed=seed) for seed in (0, 1)]
    for seed in (0, 1):
        row = find(rows, **place, seed=seed, fold=None)
        assert row.value == pytest.approx(by_seed[seed])
        assert row.ci95 is None
    pooled = find(rows, **place, seed=None, fold=None)
    assert pooled.value == pytest.approx(np.mean(by_seed))
    assert pooled.ci95[0] < pooled.value < pooled.ci95[1]
    assert pooled.patients == 40


def test_fold_rows_have_the_folds_own_value_without_interval() -> None:
    cases = scored(folds=4)
    rows = statistics.metric_rows(cases, classification(), ARMS, SITES)
    row = find(rows, arm="federated", test_site="north", metric="auroc", seed=1, fold=2)
    assert row.value == pytest.approx(auroc(cases, arm="federated", test_site="north", seed=1, fold=2))
    assert (row.ci95, row.patients) == (None, 10)
    without = statistics.metric_rows(scored(), classification(), ARMS, SITES)
    assert all(row.fold is None for row in without)


def test_a_site_scored_by_every_fold_averages_the_folds_models() -> None:
    cases = scored(folds=3)
    rows = statistics.metric_rows(cases, classification(), ARMS, SITES)
    values = [auroc(cases, arm="federated", test_site="abroad", seed=0, fold=fold) for fold in range(3)]
    place = {"arm": "federated", "test_site": "abroad", "metric": "auroc", "seed": 0}
    assert find(rows, **place, fold=None).value == pytest.approx(np.mean(values))
    assert find(rows, **place, fold=1).value == pytest.approx(values[1])
    assert find(rows, **place, fold=None).patients == 40


def test_one_seed_has_its_interval_on_both_rows() -> None:
    rows = statistics.metric_rows(scored(seeds=(3,)), classification(), ARMS, SITES)
    for site in ("north", "mean", "worst", "spread"):
        place = {"arm": "federated", "test_site": site, "metric": "auroc"}
        assert find(rows, **place, seed=3).ci95 == find(rows, **place, seed=None).ci95 is not None


def test_every_row_without_a_value_says_why() -> None:
    cases = scored(folds=2)
    cases = cases[(cases["arm"] != "local/north") | (cases["test_site"] != "south")]
    rows = statistics.metric_rows(cases, classification(), ARMS, SITES)
    undefined = [row for row in rows if row.value is None]
    assert all(row.reason and row.ci95 is None and row.patients == 0 for row in undefined)
    west = find(rows, arm="federated", test_site="west", metric="auroc", seed=None)
    assert west.reason == "no negative images at this site"
    missing = find(rows, arm="local/north", test_site="south", metric="auroc", seed=None)
    assert missing.reason == "no predictions of this arm on this site"
    assert find(rows, arm="federated", test_site="south", metric="auroc", seed=None).value is not None


def test_summaries_are_over_training_sites_where_the_metric_is_defined() -> None:
    rows = statistics.metric_rows(scored(), classification(), ARMS, SITES)
    place = {"arm": "federated", "label": "abnormal", "metric": "auroc", "seed": None}
    north, south = (find(rows, **place, test_site=site) for site in ("north", "south"))
    mean, worst, spread = (find(rows, **place, test_site=site) for site in ("mean", "worst", "spread"))
    assert mean.value == pytest.approx((north.value + south.value) / 2)
    assert worst.value == min(north.value, south.value)
    assert spread.value == pytest.approx(abs(north.value - south.value) / np.sqrt(2))
    assert mean.reason == worst.reason == spread.reason == "without west, where it is undefined"
    assert mean.patients == north.patients + south.patients
    assert mean.ci95[1] - mean.ci95[0] < north.ci95[1] - north.ci95[0]
    for row in (mean, worst, spread):
        assert row.ci95[0] <= row.value <= row.ci95[1]


def test_the_worst_site_of_an_error_is_the_largest() -> None:
    rows = statistics.metric_rows(segmented(), segmentation(), ARMS, SITES)
    for metric, worst in (("hd95_mm", max), ("volume_error_ml", max), ("dice", min), ("surface_dice", min)):
        place = {"arm": "federated", "metric": metric, "seed": None}
        values = [find(rows, **place, test_site=site).value for site in TRAINED]
        assert find(rows, **place, test_site="worst").value == worst(values)


def test_no_summary_without_training_sites() -> None:
    rows = statistics.metric_rows(scored(), classification(), ("federated",), ("abroad",))
    assert {row.test_site for row in rows} == {"abroad"}


def test_spread_needs_two_sites() -> None:
    study = classification()
    rows = statistics.metric_rows(scored(sites=("north", "west")), study, ("federated",), ("north", "west"))
    place = {"arm": "federated", "metric": "auroc", "seed": None}
    assert find(rows, **place, test_site="mean").value is not None
    assert find(rows, **place, test_site="spread").reason == "defined at one training site only"


def test_labels_have_a_macro_mean() -> None:
    labels = ("mass", "nodule")
    cases = scored(labels=labels)
    rows = statistics.metric_rows(cases, classification(labels), ARMS, SITES)
    place = {"arm": "federated", "test_site": "north", "metric": "auroc", "seed": None}
    values = [find(rows, **place, label=label).value for label in labels]
    mean = find(rows, **place, label="mean")
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.ci95[0] < mean.value < mean.ci95[1]


def test_a_patients_samples_are_averaged_before_patients_are() -> None:
    cases = segmented()
    rows = statistics.metric_rows(cases, segmentation(), ARMS, SITES)
    part = cases[(cases["arm"] == "federated") & (cases["test_site"] == "north")]
    expected = part.groupby(["seed", "patient"])["dice"].mean().groupby("seed").mean().mean()
    row = find(rows, arm="federated", test_site="north", metric="dice", seed=None)
    assert row.value == pytest.approx(expected)
    assert row.value != pytest.approx(part["dice"].mean(), rel=1e-4)
    assert (row.patients, row.reason) == (12, None)


def test_undefined_patients_are_counted() -> None:
    rows = statistics.metric_rows(segmented(), segmentation(), ARMS, SITES)
    row = find(rows, arm="federated", test_site="north", metric="hd95_mm", seed=None)
    assert row.value > 0
    assert (row.patients, row.reason) == (11, "undefined for 1 of 12 patients")


def test_intervals_can_be_switched_off() -> None:
    rows = statistics.metric_rows(scored(), classification(intervals=False), ARMS, SITES)
    assert all(row.ci95 is None for row in rows)
    with_intervals = statistics.metric_rows(scored(), classification(), ARMS, SITES)
    assert [row.value for row in rows] == [row.value for row in with_intervals]
    assert any(row.ci95 for row in with_intervals)


def test_calibration_error_says_why_it_has_no_interval() -> None:
    rows = statistics.metric_rows(scored(), classification(), ARMS, SITES)
    for site in ("north", "mean"):
        row = find(rows, arm="federated", test_site=site, metric="ece", seed=None)
        assert row.value > 0
        assert row.ci95 is None
        assert "biased" in row.reason


def test_order_of_rows_other_arms_and_a_csv_file_change_nothing() -> None:
    study = classification()
    cases = scored(folds=2)
    rows = statistics.metric_rows(cases, study, ARMS, SITES)
    shuffled = cases.sample(frac=1.0, random_state=1)
    assert statistics.metric_rows(shuffled, study, ARMS, SITES) == rows
    read = pd.read_csv(io.StringIO(cases.to_csv(index=False)))
    assert statistics.metric_rows(read, study, ARMS, SITES) == rows
    nullable = cases.astype({"fold": "Int64"})
    assert statistics.metric_rows(nullable, study, ARMS, SITES) == rows
    alone = statistics.metric_rows(cases, study, ("centralised",), SITES)
    assert alone == [row for row in rows if row.arm == "centralised"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("score", float("nan")), ("score", 1.2), ("truth", 2), ("label", "nodule"), ("patient", None), ("seed", None)],
)
def test_an_impossible_value_is_refused(column: str, value: object) -> None:
    cases = scored().astype({"patient": object, "seed": object, "truth": float})
    assert statistics.metric_rows(cases, classification(intervals=False), ARMS, SITES)
    cases.loc[5, column] = value
    with pytest.raises(WardroundError) as error:
        statistics.metric_rows(cases, classification(intervals=False), ARMS, SITES)
    assert error.value.code == "WR-1401"


def test_a_missing_column_and_text_among_numbers_are_refused() -> None:
    cases = segmented().astype({"dice": object})
    assert statistics.metric_rows(cases, segmentation(intervals=False), ARMS, SITES)
    text = cases.copy()
    text.loc[3, "dice"] = "high"
    for broken in (cases.drop(columns="dice"), text):
        with pytest.raises(WardroundError) as error:
            statistics.metric_rows(broken, segmentation(intervals=False), ARMS, SITES)
        assert error.value.code == "WR-1401"
        assert "dice" in error.value.what


def drop_one(cases: pd.DataFrame) -> pd.DataFrame:
    return cases.drop(index=7)


def repeat_one(cases: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([cases, cases.iloc[[7]]], ignore_index=True)


def change_truth(cases: pd.DataFrame) -> pd.DataFrame:
    return cases.assign(truth=np.where(cases.index == 7, 1 - cases["truth"], cases["truth"]))


def change_patient(cases: pd.DataFrame) -> pd.DataFrame:
    return cases.assign(patient=np.where(cases.index == 7, "somebody", cases["patient"]))


def lose_a_seed(cases: pd.DataFrame) -> pd.DataFrame:
    return cases[(cases["arm"] != "centralised") | (cases["seed"] == 0)]


@pytest.mark.parametrize("damage", [drop_one, repeat_one, change_truth, change_patient, lose_a_seed])
def test_models_scored_on_other_samples_are_refused(damage: Any) -> None:
    cases = scored()
    assert statistics.metric_rows(cases, classification(intervals=False), ARMS, SITES)
    with pytest.raises(WardroundError) as error:
        statistics.metric_rows(damage(cases), classification(intervals=False), ARMS, SITES)
    assert error.value.code == "WR-1402"
