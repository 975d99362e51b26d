"""Bounds for a private study, from an open run to the study that they are pasted into."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tomli_w
from fakes.scenarios import chest_fields, chest_scenario
from typer.testing import CliRunner

from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.simulations.cli import app
from wardround.simulations.experiment import new_request
from wardround.simulations.job import load_model
from wardround.simulations.run_folder import open_run
from wardround.simulations.scenario import build_scenario
from wardround.simulations.update_sizes import UpdateSizes

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def wardround(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_bounds_are_measured_written_and_make_the_study_private(tmp_path: Path) -> None:
    file, run, target = tmp_path / "chest.toml", tmp_path / "run", tmp_path / "bounds.toml"
    file.write_text(tomli_w.dumps(chest_fields()), encoding="utf-8")
    settings = ("training.rounds=1", "selection.rule=last", 'simulation.arms=["federated", "local"]')
    options = [word for setting in settings for word in ("--set", setting)]
    wardround("simulate", file, *options, "--out", run, "--device", "cpu", "--write-bounds", target)

    (measured,) = run.glob("jobs/*/updates.json")
    assert measured.parent.name == "federated.seed0"
    (only,) = UpdateSizes.model_validate_json(measured.read_bytes()).root
    study, layout, vector, _ = load_model(run / "model")
    before, after = state_arrays(build_model(study, seed=0)), layout.views(vector)
    assert list(only.tensors) == list(before)
    for name, sizes in only.tensors.items():
        step = after[name].astype(float) - before[name]  # after one round, the mean update
        assert np.isclose(sizes.rms, np.sqrt(np.mean(step**2)), rtol=1e-3, atol=1e-8), name

    table = tomllib.loads(target.read_text(encoding="utf-8"))["aggregation"]
    private = build_scenario(chest_fields() | {"aggregation": {"mode": "private", **table}}).study
    bounds = dict(zip(before, private.secure.bounds(layout), strict=True))
    assert all(bounds[name][1] >= 2 * sizes.largest for name, sizes in only.tensors.items())


def test_a_run_begun_without_measuring_is_not_gone_on_with_to_measure(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open_run(run, new_request(chest_scenario(), device="cpu")):
        pass
    with pytest.raises(WardroundError, match="without --write-bounds") as refused:
        wardround("simulate", "--resume", run, "--write-bounds", tmp_path / "bounds.toml")
    assert refused.value.code == "WR-1502"
    assert not (run / "jobs").exists(), "refused before anything is trained"
