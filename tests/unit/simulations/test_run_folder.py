"""A folder that holds another run is refused with the command that goes on with it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from fakes.scenarios import chest_scenario

from wardround.common.errors import WardroundError
from wardround.simulations.experiment import new_request
from wardround.simulations.run_folder import open_run

if TYPE_CHECKING:
    from pathlib import Path


def refused(run: Path) -> WardroundError:
    with pytest.raises(WardroundError) as error, open_run(run, new_request(chest_scenario(), seeds=2)):
        pass
    assert error.value.code == "WR-1501"
    return error.value


def test_another_run_is_gone_on_with_by_a_command_to_copy(tmp_path: Path) -> None:
    run = tmp_path / "the first"
    with open_run(run, new_request(chest_scenario())):
        (run / "jobs").mkdir()
    assert refused(run).fix.endswith(f"wardround simulate --resume {shlex.quote(str(run))}")


def test_what_is_no_run_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert refused(tmp_path).fix == "Give another --out."
