"""A coordinator's process with real SuperLink, gateway and run processes; hospitals call with the installed app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.scenarios import chest_scenario
from fakes.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.serving import Serving


def scenario(**training: Any) -> Any:
    return chest_scenario(
        training={"rounds": 3, "epochs": 3, "optimizer_state": "reset"} | training,
        selection={"rule": "last"},
        aggregation={"mode": "open", "min_sites": 2},
        simulation={"arms": ["federated"]},
    )


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, scenario()) as started:
        yield started


def test_a_run_from_start_to_model(stand: Serving) -> None:
    row = stand.start(scenario().study)
    ended = stand.ended(row.id)
    assert (ended.state, ended.committed) == ("completed", 3), ended.words
