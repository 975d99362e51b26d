"""Ratios, goals and the form in which a benchmark is printed."""

from __future__ import annotations

import json

import pytest

from wardround.simulations.bench.aggregation import AggregationSizes, aggregation_rows
from wardround.simulations.bench.rows import BenchReport, Row, against_reference, below, times_less
from wardround.simulations.bench.simulation import simulation_rows


@pytest.mark.parametrize(("peer", "ratio", "holds"), [(6.0, 3.0, True), (4.0, 2.0, True), (3.9, 1.95, False)])
def test_the_ratio_is_peer_over_ours_and_the_goal_a_lower_bound(peer: float, ratio: float, holds: bool) -> None:  # noqa: FBT001
    row = times_less("speed", 2.0, peer, peer_name="them", unit="s", at_least=2)
    assert row.ratio == pytest.approx(ratio)
    assert (row.holds, row.goal) == (holds, ">= 2x")


def test_without_a_peer_nothing_is_compared() -> None:
    row = times_less("speed", 2.0, None, peer_name="them", unit="s", at_least=2)
    assert (row.ours, row.peer, row.ratio, row.holds) == (2.0, None, None, None)


def test_a_measurement_of_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="above 0"):
        times_less("speed", 0.0, 1.0, peer_name="them", unit="s", at_least=2)


@pytest.mark.parametrize(("ours", "holds"), [(0.4, True), (0.5, False)])
def test_a_goal_of_ours_alone_is_judged_without_a_peer(ours: float, holds: bool) -> None:  # noqa: FBT001
    row = below("start_seconds", ours, None, peer_name="them", unit="s", limit=0.5)
    assert (row.ratio, row.holds, row.goal) == (None, holds, "< 0.5 s")
    assert below("start_seconds", ours, 2.0, peer_name="them", unit="s", limit=0.5).ratio == pytest.approx(2 / ours)


@pytest.mark.parametrize(("ours", "holds"), [(10.0, True), (11.0, False)])
def test_against_a_reference_the_ratio_is_ours_over_it(ours: float, holds: bool) -> None:  # noqa: FBT001
    row = against_reference("memory_growth_vs_sites", ours, 10.0, name="10 sites", unit="MB", at_most=1.05)
    assert row.ratio == pytest.approx(ours / 10)
    assert row.holds is holds


def test_a_report_has_the_form_of_the_contract() -> None:
    row = times_less("speed", 2.0, None, peer_name="them", unit="s", at_least=2)
    report = json.loads(BenchReport(bench="x", machine={"cores": 2}, rows=(row,)).model_dump_json())
    assert list(report) == ["bench", "machine", "rows"]
    assert list(report["rows"][0]) == ["quantity", "ours", "peer", "peer_name", "unit", "ratio", "goal", "holds"]
    assert Row.model_validate(report["rows"][0]) == row


def test_aggregation_rows_take_medians_and_peaks() -> None:
    found = {
        "seconds": {"ours": [0.010, 0.500, 0.020], "flower": [0.060, 0.050, 0.001]},
        "peak_mb": {"ours": {"10": 40.0, "40": 41.0}, "flower": {"10": 250.0, "40": 820.0}},
    }
    speed, memory, growth, many = aggregation_rows(AggregationSizes(), found)
    assert (speed.quantity, speed.unit) == ("speed_10x5M", "ms")
    assert [speed.ours, speed.peer, speed.ratio] == pytest.approx([20.0, 50.0, 2.5])
    assert [row.quantity for row in (memory, growth, many)] == [
        "memory_10x5M",
        "memory_growth_vs_sites",
        "memory_40x5M",
    ]
    assert [memory.ratio, growth.ratio, many.ratio] == pytest.approx([6.25, 1.025, 20.0])
    assert growth.holds is True


def test_overhead_is_time_outside_training_steps_without_the_first_round() -> None:
    ours = {"start_seconds": 2.0, "round_seconds": [9.0, 1.5, 1.7], "step_seconds": [1.0, 1.4, 1.5]}
    flower = {"start_seconds": 8.0, "round_seconds": [7.0, 6.0, 3.0]}
    overhead, start = simulation_rows({10: {"ours": [ours], "flower": [flower]}})
    assert (overhead.quantity, overhead.goal) == ("round_overhead_10", ">= 30x")
    assert [overhead.ours, overhead.peer, overhead.ratio] == pytest.approx([0.15, 4.5, 30])
    assert (start.quantity, start.ours, start.peer, start.ratio) == ("start_seconds", 2.0, 8.0, 4.0)


def test_without_flower_s_simulation_its_columns_are_empty() -> None:
    ours = {"start_seconds": 2.0, "round_seconds": [9.0, 1.5], "step_seconds": [1.0, 1.4]}
    overhead, start = simulation_rows({10: {"ours": [ours], "flower": []}})
    assert (overhead.peer, overhead.ratio, overhead.holds) == (None, None, None)
    assert (start.peer, start.ratio, start.holds) == (None, None, False)
