"""What a curve says of its cases, against numbers worked out by hand; the figure and the tables hold all of it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from fakes.promised_runs import promised_scenario
from fakes.scenarios import chest_scenario
from matplotlib.figure import Figure

from wardround.simulations.privacy.curve_figure import _panel, draw_curves
from wardround.simulations.privacy.curves import Curves, collect_curves
from wardround.simulations.privacy.points import curve_points
from wardround.simulations.privacy.show import show_curves

SITES = ("site0", "site1", "site2")
RIGHT = {"distributed-4": (0.75, 1.0), "no-promise": (1.0, 1.0), "local-4": (0.5, 0.75), "local-inf": (1.0, 1.0)}
"""AUROC of four test patients, by point and seed, at every hospital but the last, which has no negative."""
SCORES = {0.5: (0.9, 0.1, 0.5, 0.4), 0.75: (0.9, 0.3, 0.5, 0.2), 1.0: (0.9, 0.8, 0.5, 0.2)}


def cases_of(points: list[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for point in points:
        for seed, auroc in enumerate(RIGHT.get(point, (0.75, 0.75))):
            for site in SITES:
                for patient, score in enumerate(SCORES[auroc]):
                    truth = 1 if site == "site2" else int(patient < 2)
                    rows.append(
                        {"arm": point, "seed": seed, "fold": pd.NA, "test_site": site, "patient": f"p{patient}"}
                        | {"sample": f"s{patient}", "label": "abnormal", "truth": truth, "score": score}
                        | {"predicted": int(score >= 0.5)}
                    )
    return pd.DataFrame(rows).astype({"fold": "Int64"})


@pytest.fixture(scope="module")
def curves() -> Curves:
    study = promised_scenario(3, rounds=4, epsilon=8.0, rate=0.5).study
    points = curve_points(study, [4.0, "infinite"], ["distributed", "local"])
    return collect_curves(cases_of([point.name for point in points]), study, points, SITES, dict.fromkeys(SITES, "x"))


def test_scores_are_what_they_are_called() -> None:
    for auroc, (a, b, c, d) in SCORES.items():
        assert sum(high > low for high in (a, b) for low in (c, d)) / 4 == auroc


def test_mean_and_ends_are_those_of_the_seeds(curves: Curves) -> None:
    row = curves.value("distributed-4", "site0")
    assert row is not None
    assert row.by_seed == [0.75, 1.0]
    assert (row.mean, row.low, row.high) == (0.875, 0.75, 1.0)
    assert row.deviation == pytest.approx(0.25 / 2**0.5)
    assert row.of_reference == 0.875
    assert row.patients == 4


def test_a_hospital_without_negatives_has_no_value_and_is_left_out_of_the_mean(curves: Curves) -> None:
    silent, mean = curves.value("local-4", "site2"), curves.value("local-4", "mean")
    assert silent is not None
    assert mean is not None
    assert (silent.mean, silent.low, silent.of_reference, silent.by_seed) == (None, None, None, [None, None])
    assert silent.reason
    assert mean.mean == 0.625
    assert "site2" in (mean.reason or "")


def test_points_say_what_they_cost(curves: Curves) -> None:
    points = {point.point: point for point in curves.points}
    assert points["local-4"].steps == 4
    assert 3.9 < (points["local-4"].accounted_epsilon or 0) <= 4
    assert (points["local-inf"].noise_multiplier, points["local-inf"].accounted_epsilon) == (0, None)
    assert (points["no-promise"].epsilon, points["no-promise"].steps) == (None, None)
    assert curves.points[-1].point == "no-promise"


def test_json_gives_the_same_curves_again(curves: Curves) -> None:
    assert Curves.model_validate_json(curves.model_dump_json(by_alias=True)) == curves


def test_figure_is_drawn_and_depends_on_the_values(curves: Curves) -> None:
    first = draw_curves(curves)
    assert first.startswith(b"\x89PNG")
    assert draw_curves(curves) == first
    moved = [
        row.model_copy(update={"mean": 0.6}) if (row.point, row.test_site) == ("local-4", "mean") else row
        for row in curves.values  # noqa: PD011 - a field, no table
    ]
    assert draw_curves(curves.model_copy(update={"values": moved})) != first


def test_a_curve_of_one_infinite_point_is_drawn() -> None:
    study = promised_scenario(3, rounds=1, epsilon=8.0, rate=0.5).study
    points = curve_points(study, ["infinite"], ["local"])
    found = collect_curves(cases_of([point.name for point in points]), study, points, SITES, {})
    assert draw_curves(found).startswith(b"\x89PNG")


def test_a_curve_of_one_seed_says_so(curves: Curves, capsys: pytest.CaptureFixture[str]) -> None:
    for seeds, one in (([0], True), ([0, 1], False)):
        show_curves(curves.model_copy(update={"seeds": seeds}))
        assert ("One seed: trainings with another one differ" in capsys.readouterr().out) == one
    several, single = (draw_curves(curves.model_copy(update={"seeds": seeds})) for seeds in ([0, 1], [0]))
    assert several != single, "the figure's title does, too"


def test_the_marks_of_one_epsilon_stand_together(curves: Curves) -> None:
    """Both trust models' marks are within a sixth of the axis of their epsilon's place, not at its two ends."""
    alone = curves.model_copy(update={"points": [point for point in curves.points if point.epsilon in {4.0, None}]})
    figure = Figure()
    axes = figure.subplots()
    _panel(axes, alone, "mean")
    (place,) = axes.get_xticks()
    low, high = axes.get_xlim()
    marks = [float(x) for line in axes.lines if line.get_marker() in {"o", "s"} for x in line.get_xdata()]
    assert len(marks) == 2
    assert max(abs(mark - place) for mark in marks) < (high - low) / 6


def test_tables_fit_eighty_columns_and_hold_the_means(curves: Curves, capsys: pytest.CaptureFixture[str]) -> None:
    show_curves(curves)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for words in ("0.875", "0.750 to 1.000", "no promise", "infinite", "site2"):
        assert words in printed


@pytest.mark.parametrize("columns", ["80", "120"])
def test_headings_of_a_curve_are_whole(
    columns: str, curves: Curves, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    points = [point.model_copy(update={"trust": "distributed", "noise_multiplier": 12.3456}) for point in curves.points]
    show_curves(curves.model_copy(update={"points": points}))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= int(columns)
    assert "…" not in printed
    for words in ("distributed", "12.3456", "worst to", "best seed", "of no", "promise", "0.750 to 1.000"):
        assert words in printed


def test_three_hospitals_of_the_fake_are_those_of_the_cases() -> None:
    assert tuple(promised_scenario(3).study.sites) == SITES
    assert chest_scenario().study.task.labels == ("abnormal",)
