"""Scenarios on real images in private mode, hospitals falling silent: every step is the plain mean within its bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.private_runs import Consortium, watched

from wardround.simulations.faults import Fault
from wardround.simulations.scenario import load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SILENT = {
    "cxr": [("gwcmc", 1, "confirm"), ("mhh", 2, "open")],  # three sites: a drop before the upload ends the round
    "hippocampus-shift": [("birch", 1, "upload"), ("cedar", 2, "confirm"), ("elm", 3, "open")],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SILENT))
def test_steps_of_a_scenario_are_plain_means(name: str, data_root: Path, tmp_path: Path) -> None:
    settings = ["aggregation.mode=private", "training.rounds=4", "training.epochs=1"]
    scenario = load_scenario(name, settings)
    consortium = Consortium.of(scenario, tmp_path, data_root)
    grid, oracle = watched(consortium, faults(SILENT[name]))
    history = consortium.coordinate(grid)
    largest = oracle.errors(history)
    assert max(share for _, share in largest) <= 1
    lost = {site for site, _, stage in SILENT[name] if stage == "upload"}
    assert set().union(*(record["dropped"] for record in history["rounds"])) == lost
    silent = set().union(*(record["silent"] for record in history["rounds"]))
    assert silent == {site for site, _, stage in SILENT[name] if stage != "upload"}
    assert all(line.get("clipped", 0) == 0 for site in consortium.study.sites for line in consortium.journal(site))


def faults(lines: Sequence[tuple[str, int, str]]) -> list[Fault]:
    return [Fault.model_validate({"site": site, "round": number, "stage": stage}) for site, number, stage in lines]
