"""The answer says what the comparisons support, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.run_folder import classification_study
from hypothesis import given
from hypothesis import strategies as st

from wardround.simulations.report.answer import answer
from wardround.simulations.report.load import load_run
from wardround.simulations.report.outcome import Outcome, judge
from wardround.simulations.report.sourced import plain
from wardround.simulations.results import Metric, Results, StudySummary
from wardround.simulations.results import Test as Comparison

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.report.answer import Answer

STUDY = classification_study()
BETTER = {"difference": 0.05, "ci95": (0.01, 0.09), "p": 0.001, "p_holm": 0.004}
WORSE = {"difference": -0.05, "ci95": (-0.09, -0.01), "p": 0.001, "p_holm": 0.004}
OPEN = {"difference": 0.01, "ci95": (-0.03, 0.05), "p": 0.6, "p_holm": 1.0}
FEW = {"difference": 0.02, "ci95": None, "p": None, "p_holm": None, "reason": "fewer than 10 patients"}
NONE = {"difference": None, "ci95": None, "p": None, "p_holm": None, "reason": "no negative images at this site"}


def comparison(b: str, site: str, **fields: Any) -> Comparison:
    row = {"label": "abnormal", "metric": "auroc", "test": "clustered_delong", "patients": 40, "reason": None}
    return Comparison.model_validate({"a": "federated", "b": b, "test_site": site, **row, **fields})


def summary(b: str, difference: float, low: float, high: float) -> Comparison:
    fields = {"difference": difference, "ci95": (low, high), "p": None, "p_holm": None, "reason": "interval only"}
    return comparison(b, "mean", test="stratified_bootstrap", **fields)


def metric(arm: str, site: str, value: float | None, reason: str | None = None) -> Metric:
    return Metric(
        arm=arm,
        test_site=site,
        label="abnormal",
        metric="auroc",
        seed=None,
        fold=None,
        value=value,
        ci95=None,
        patients=40,
        reason=reason,
    )


def results(tests: list[Comparison], metrics: list[Metric] | None = None) -> Results:
    return Results(
        study=StudySummary(id=STUDY.id, name=STUDY.name, task="classification", sites=list(STUDY.sites)),
        seeds=[0],
        folds=1,
        data={},
        status="completed",
        arms=["federated", "centralised", *(f"local/{site}" for site in STUDY.sites)],
        metrics=metrics or [],
        tests=tests,
        rounds=[],
        privacy=[],
        warnings=[],
        model=None,
    )


def own(north: dict[str, Any], south: dict[str, Any], lake: dict[str, Any]) -> Answer:
    sites = {"north": north, "south": south, "lake": lake}
    return answer(results([comparison(f"local/{site}", site, **fields) for site, fields in sites.items()]), STUDY)


def first(given_answer: Answer) -> str:
    return plain(given_answer.verdict[0])


def about(given_answer: Answer, question: str) -> str:
    return " ".join(
        plain(item) for point in given_answer.points if question in point.question for item in point.sentences
    )


def test_gain_everywhere_names_every_hospital() -> None:
    text = first(own(BETTER, BETTER, BETTER))
    assert text.startswith("Federation helped: its model was better than the hospital's own model at every hospital")
    assert "(north, south and lake)" in text


def test_gain_at_one_hospital_says_what_is_open_at_the_others() -> None:
    text = first(own(BETTER, OPEN, NONE))
    assert text.startswith("Federation helped: its model was better than the hospital's own model at north.")
    assert "At south no difference could be shown." in text
    assert "At lake no test was possible." in text


def test_gain_and_loss_are_both_in_the_first_sentence() -> None:
    assert first(own(BETTER, WORSE, OPEN)).startswith(
        "Federation helped some hospitals and cost others: its model was better than the hospital's own model at north "
        "and worse at south."
    )


def test_loss_names_the_hospital_and_the_loss_with_its_interval() -> None:
    found = own(OPEN, WORSE, OPEN)
    assert first(found).startswith("Federation did not help the hospitals on their own patients")
    assert "worse than the hospital's own model at south." in first(found)
    loss = about(found, "Who loses").replace("\N{MINUS SIGN}", "-")
    assert "south loses compared with its own model: -0.050 (95% interval -0.090 to -0.010, p 0.004" in loss


@pytest.mark.parametrize(
    ("fields", "headline"),
    [
        (BETTER, "Federation helped south: the federated model was better than the hospital's own model."),
        (WORSE, "Federation did not help south on its own patients: the federated model was worse than the hospital's"),
        (OPEN, "south could not be shown to gain or to lose on its own patients by taking part."),
        (FEW, "Whether federation helped south cannot be tested with these patients;"),
        (NONE, "Whether federation helped south cannot be tested with these patients;"),
    ],
)
def test_where_one_hospital_was_measured_it_is_named(fields: dict[str, Any], headline: str) -> None:
    found = answer(results([comparison("local/south", "south", **fields)]), STUDY)
    assert first(found).startswith(headline)
    loses = about(found, "Who loses")
    assert loses.startswith("south loses" if fields is WORSE else "south is not shown to lose.")


def test_nothing_shown_is_not_called_equal() -> None:
    found = own(OPEN, OPEN, OPEN)
    assert first(found).startswith("No hospital could be shown to gain or to lose")
    assert "equal" not in found.text()
    assert "so a loss of that size is not ruled out" in about(found, "Who loses")


@pytest.mark.parametrize(("low", "size"), [(-0.0004, "too small to be shown here"), (-0.0006, "of that size")])
def test_a_loss_that_rounds_to_zero_is_not_called_a_size(low: float, size: str) -> None:
    text = about(own(OPEN | {"difference": 0.001, "ci95": (low, 0.05)}, OPEN, OPEN), "Who loses")
    assert f"so a loss {size} is not ruled out" in text


def test_too_few_patients_are_described_not_judged() -> None:
    found = own(FEW, FEW, FEW)
    assert first(found).startswith("Whether federation helped cannot be tested")
    text = about(found, "alone")
    assert "fewer than 10 patients" in text
    assert "better" not in text
    assert " p " not in text


def test_without_a_federated_arm_the_answer_is_about_unseen_hospitals(left_out_run: Path) -> None:
    run = load_run(left_out_run)
    found = answer(run.results, run.study)
    assert "a hospital that took no part" in first(found)
    assert "95% interval" not in found.text()
    assert "better" not in found.text()
    assert "This study gives no intervals" in found.text()


def test_site_without_negatives_is_undefined_with_its_reason(classification_run: Path) -> None:
    run = load_run(classification_run)
    text = about(answer(run.results, run.study), "alone")
    assert "lake: cannot be compared, AUROC is undefined: no negative images at this site." in text
    assert "lake: only sensitivity can be given" in text


def test_unseen_site_is_answered(classification_run: Path) -> None:
    run = load_run(classification_run)
    assert "east, never trained on: federated 0." in about(answer(run.results, run.study), "took no part")


def test_averages_are_compared_by_their_interval_and_that_is_said() -> None:
    better = [summary(f"local/{site}", 0.1, 0.05, 0.15) for site in STUDY.sites]
    metrics = [metric(arm, "mean", 0.8) for arm in ("federated", *(f"local/{site}" for site in STUDY.sites))]
    found = answer(results(better, metrics), STUDY)
    assert "better than every hospital's own model" in found.text()
    assert "by its interval alone" in about(found, "all hospitals")
    open_ = [summary(f"local/{site}", 0.1, -0.05, 0.25) for site in STUDY.sites]
    assert "better than" not in answer(results(open_, metrics), STUDY).text()


def test_an_average_says_which_hospitals_it_leaves_out() -> None:
    tests = [summary(f"local/{site}", 0.1, 0.05, 0.15) for site in STUDY.sites]
    partial = [metric(arm, "mean", 0.8, "without lake, where it is undefined") for arm in ("federated", "centralised")]
    text = answer(results(tests, partial), STUDY).text()
    assert "averaged over them (without lake, where it is undefined), the federated model was better" in text
    assert "The federated model's mean AUROC over the hospitals (without lake, where it is undefined) was 0.800" in text
    full = [metric(arm, "mean", 0.8) for arm in ("federated", "centralised")]
    assert "without lake" not in answer(results(tests, full), STUDY).text()


@pytest.mark.parametrize(("patients", "said"), [(9, True), (10, False)])
def test_intervals_from_few_patients_are_called_too_narrow(patients: int, *, said: bool) -> None:
    rows = [metric("federated", site, 0.8) for site in STUDY.sites]
    rows[0] = rows[0].model_copy(update={"patients": patients})
    text = about(answer(results([], rows), STUDY), "certain")
    assert ("At north there are fewer than 10 patients: intervals there are too narrow" in text) is said


def test_pooled_data_that_is_better_is_said() -> None:
    metrics = [metric("federated", "mean", 0.8), metric("centralised", "mean", 0.85)]
    found = answer(results([summary("centralised", -0.05, -0.08, -0.02)], metrics), STUDY)
    assert "with all data pooled in one place, 0.850 (the federated mean is lower)." in found.text()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Outcome.BETTER),
        ({"p_holm": 0.05}, Outcome.NOT_SHOWN),
        ({"p": 0.04, "p_holm": 0.06}, Outcome.NOT_SHOWN),
        ({"ci95": (-0.001, 0.09)}, Outcome.NOT_SHOWN),
        ({"ci95": (0.0, 0.09)}, Outcome.NOT_SHOWN),
        ({"ci95": None}, Outcome.BETTER),
        ({"p": None, "p_holm": None}, Outcome.NOT_TESTED),
        ({"difference": None}, Outcome.UNDEFINED),
        ({"difference": -0.05}, Outcome.NOT_SHOWN),
        ({"difference": -0.05, "ci95": (-0.09, -0.01)}, Outcome.WORSE),
    ],
)
def test_judgement(changes: dict[str, Any], expected: Outcome) -> None:
    assert judge(comparison("local/north", "north", **{**BETTER, **changes})) is expected


numbers = st.floats(-1, 1, allow_nan=False)


@given(numbers, st.none() | st.tuples(numbers, numbers), st.none() | st.floats(0, 1))
def test_better_is_never_said_without_p_and_interval(
    difference: float, interval: tuple[float, float] | None, p: float | None
) -> None:
    fields = {"difference": difference, "ci95": interval, "p": p, "p_holm": p, "reason": None}
    text = answer(results([comparison("local/north", "north", **fields)]), STUDY).text().split("How certain")[0]
    supported = p is not None and p < 0.05
    above = difference > 0 and (interval is None or interval[0] > 0)
    below = difference < 0 and (interval is None or interval[1] < 0)
    assert ("better: " in text) is (supported and above)
    assert ("worse: " in text) is (supported and below)
