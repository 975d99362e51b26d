"""Both sides of a benchmark do the same work, and small benchmarks run from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from wardround.common.errors import WardroundError
from wardround.simulations.bench.aggregation import AggregationSizes, bench_aggregation
from wardround.simulations.bench.aggregation_sides import (
    PATIENTS,
    draw_update,
    flower,
    flower_replies,
    new_engine,
    our_replies,
    ours,
    peak_mb,
)
from wardround.simulations.bench.catalogue import BENCHES, run_bench
from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.machine import THREADS, describe_machine
from wardround.simulations.bench.show import show_bench
from wardround.simulations.bench.simulation import NO_PEER, SimulationSizes, bench_simulation
from wardround.simulations.bench.simulation_flower import client

SMALL = SimulationSizes(sites=(2,), rounds=3, repeats=1, widths=(8, 8), peer=False)


def test_both_sides_compute_the_same_mean() -> None:
    update = draw_update(1000)
    model = ours(new_engine(np.zeros_like(update), 3), our_replies(update, 3), 1000)
    arrays = flower(flower_replies(update, 3, 7)).to_numpy_ndarrays()
    np.testing.assert_allclose(model, np.concatenate(arrays), rtol=1e-5)
    np.testing.assert_allclose(model, update, rtol=1e-5)  # every site sends the same update


def test_weights_differ_from_site_to_site_on_both_sides() -> None:
    update = draw_update(10)
    weights = [reply.content.metric_records["metrics"]["num-examples"] for reply in flower_replies(update, 3, 1)]
    assert weights == [PATIENTS, PATIENTS + 1, PATIENTS + 2]
    assert [record.config_records["message"]["patients"] for record in our_replies(update, 3)] == weights


def test_the_peak_is_what_is_held_at_a_time() -> None:
    def one_after_the_other() -> None:
        for _ in range(5):
            np.ones(1_000_000, dtype=np.uint8)

    assert peak_mb(one_after_the_other) == pytest.approx(1, abs=0.1)
    assert peak_mb(lambda: [np.ones(1_000_000, dtype=np.uint8) for _ in range(5)]) == pytest.approx(5, abs=0.1)


def test_a_small_aggregation_benchmark_runs() -> None:
    report = bench_aggregation(AggregationSizes(sites=2, more_sites=4, values=100_000, arrays=3, repeats=2))
    assert [row.quantity for row in report.rows] == [
        "speed_2x0.1M",
        "memory_2x0.1M",
        "memory_growth_vs_sites",
        "memory_4x0.1M",
    ]
    for row in report.rows:
        assert row.ours > 0
        assert row.peer is not None
        assert row.peer > 0
    assert report.machine["settings"]["values"] == 100_000
    peaks = {row.quantity: row for row in report.rows}
    # An update is 0.4 MB: ours holds the sum and one update, Flower all of them.
    assert peaks["memory_4x0.1M"].ours < 1.4
    assert (peaks["memory_4x0.1M"].peer or 0) > 4 * 0.4


def test_a_small_simulation_benchmark_runs_without_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    report = bench_simulation(SMALL)
    overhead, start = report.rows
    assert (overhead.quantity, start.quantity) == ("round_overhead_2", "start_seconds")
    assert overhead.ours > 0
    assert start.ours > overhead.ours
    assert (overhead.peer, overhead.holds) == (None, None)
    assert NO_PEER in report.machine["remarks"]
    assert report.machine["whole_round_seconds"]["ours_2"] > overhead.ours
    show_bench(report)
    shown = capsys.readouterr().out
    assert "round_overhead_2" in shown
    assert "–" in shown


@pytest.mark.slow
def test_flower_is_measured_where_it_is_installed_and_refused_where_not() -> None:
    asked = {"sites": 2, "rounds": 2, "shapes": [[3, 4], [5]], "processors": 1}
    if find_spec("ray") is None:
        with pytest.raises(WardroundError, match="simulation-flower") as refused:
            measure_in_child("simulation-flower", asked)
        assert refused.value.code == "WR-1521"
        return
    found = measure_in_child("simulation-flower", asked)
    assert len(found["round_seconds"]) == 2
    assert found["start_seconds"] > 0


def test_flower_s_client_sends_back_the_arrays_that_it_got() -> None:
    (message,) = flower_replies(draw_update(12), 1, 2)
    reply = client(message, Context(1, 2, {}, RecordDict(), {}))
    sent, returned = (item.content.array_records["arrays"].to_numpy_ndarrays() for item in (message, reply))
    for before, after in zip(sent, returned, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_process_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(WardroundError, match="KeyError") as failed:
        measure_in_child("simulation-ours", {})
    assert failed.value.code == "WR-1521"


def test_unknown_benchmarks_are_refused_and_known_ones_named() -> None:
    with pytest.raises(WardroundError, match=", ".join(BENCHES)) as refused:
        run_bench("speed")
    assert refused.value.code == "WR-1520"


def test_measured_processes_have_one_thread() -> None:
    assert THREADS["OMP_NUM_THREADS"] == "1"
    assert describe_machine()["threads"] == 1


def test_the_command_refuses_with_a_code_and_usage_errors_with_two() -> None:
    command = [sys.executable, "-c", "from wardround.simulations.cli import main; main()", "bench"]
    refused = subprocess.run([*command, "speed", "--json"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["code"] == "WR-1520"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
