"""What the benchmark of deployments makes of the answers of its processes, and that its processes run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.deployment import LEAST_CPU, DeploymentSizes, deployment_rows
from wardround.simulations.bench.deployment_study import Task, study_of
from wardround.simulations.bench.drawn_study import shapes_of
from wardround.simulations.bench.machine import usable_cores

pytestmark = pytest.mark.xdist_group("federation")

SMALL = {"sites": 2, "rounds": 2, "cores": usable_cores(), "idle_seconds": 0.2}


def _run(rounds: list[float], **fields: Any) -> dict[str, Any]:
    usual = {"start_seconds": 5.0, "idle_cpu": 0.0, "idle_rss_mb": 90.0, "server_peak_mb": 400.0, "sites": 2}
    return {"round_seconds": rounds} | usual | fields


def test_rows_are_of_steady_rounds_the_median_over_starts() -> None:
    found = {
        "ours": [_run([9.0, 0.4, 0.6]), _run([8.0, 0.5, 0.1]), _run([8.0, 0.8, 1.0])],
        "flower": [_run([11.0, 6.0, 6.5], start_seconds=15.0, idle_cpu=0.5, idle_rss_mb=300.0)],
        "private": [_run([5.0, 1.6, 1.2, 1.3])],
        "few": [_run([1.0, 1.0])],
        "many": [_run([3.0, 7.0], sites=50, server_peak_mb=430.0)],
    }
    rows = {row.quantity: row for row in deployment_rows(DeploymentSizes(), found)}
    assert (rows["empty_round"].ours, rows["empty_round"].peer) == (pytest.approx(0.5), 6.25)
    assert rows["empty_round"].holds is True
    assert rows["empty_round_seconds"].holds is False
    assert (rows["private_round_seconds"].ours, rows["private_round_seconds"].peer) == (pytest.approx(4.1 / 3), None)
    assert rows["agent_idle_cpu"].ours == LEAST_CPU
    assert rows["start_seconds"].ratio == 3
    assert rows["coordinator_memory_vs_sites"].ratio == pytest.approx(1.075)
    assert (rows["round_of_50_seconds"].ours, rows["round_of_50_seconds"].holds) == (7.0, True)


def test_a_round_without_all_sites_does_not_hold() -> None:
    runs = [_run([1.0, 1.0])]
    found = {"ours": runs, "flower": runs, "private": runs, "few": runs, "many": [_run([1.0, 1.0], sites=49)]}
    assert deployment_rows(DeploymentSizes(), found)[-1].holds is False


def test_both_sides_carry_as_many_values() -> None:
    widths = (32, 64, 128, 256, 256)
    assert sum(int(np.prod(shape)) for shape in shapes_of(study_of(Task(1, 1, widths)))) == 979_425
    study = study_of(Task(3, 4, widths, private=True)).study
    assert (study.private, len(study.sites), study.training.rounds) == (True, 3, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("private", "light"), [(False, 0), (True, 2)])
def test_ours_runs(private: bool, light: int) -> None:  # noqa: FBT001
    asked = {**SMALL, "sites": 3, "widths": [8, 8], "private": private, "light": light}
    found = json.loads(json.dumps(measure_in_child("deployment-ours", asked)))
    assert (found["sites"], len(found["round_seconds"])) == (3, 2)
    assert found["start_seconds"] >= found["round_seconds"][0] > 0
    assert found["server_peak_mb"] > 50


@pytest.mark.slow
def test_flower_runs() -> None:
    found = measure_in_child("deployment-flower", {**SMALL, "shapes": [[10, 10], [3]]})
    assert len(found["round_seconds"]) == 2
    assert found["start_seconds"] > found["round_seconds"][0] > 0
    assert found["idle_rss_mb"] > 10
