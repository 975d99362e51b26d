"""From a model trained on drawn chests without a promise to one whose last parts are fine-tuned under a promise."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from fakes.promised_runs import Promised, promised_scenario
from fakes.scenarios import chest_scenario
from safetensors.numpy import load_file

from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model, initial_model
from wardround.common.study import build_study
from wardround.simulations.attacks.leakage.runs import Runs
from wardround.simulations.evaluation import evaluate_model
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.privacy.curve import curve_request, draw_curve
from wardround.simulations.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flwr.app import Message

    from wardround.simulations.scenario import Scenario

pytestmark = pytest.mark.xdist_group("fine-tuning")  # one process makes the shared models once

TRAINED = ["features.1", "head"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a study without a promise, of other drawn patients."""
    run = tmp_path_factory.mktemp("backbone") / "run"
    public = chest_scenario(
        sites=["elsewhere"],
        split={"seed": 1},
        simulation={
            "arms": ["federated"],
            "unseen": [],
            "sites": [{"name": "elsewhere", "patients": 30, "prevalence": 0.5}],
        },
    )
    simulate(new_request(public, device="cpu"), run)
    return run / "model"


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def fine_tuned(backbone: Path, trust: str = "distributed", **model: Any) -> Scenario:
    """A study with a promise that begins with the backbone; None takes a field of its [model] away."""
    choice = {"init": digest(backbone), "trained": TRAINED, "init_data": "none"} | model
    return with_model(promised_scenario(trust=trust, epsilon=4.0), **choice)


def with_model(scenario: Scenario, **choice: Any) -> Scenario:
    fields = scenario.study.model_dump(by_alias=True)
    fields["model"] |= {name: value for name, value in choice.items() if value is not None}
    return replace(scenario, study=build_study(fields))


def promised(scenario: Scenario, backbone: Path, folder: Path) -> Promised:
    find_weights(scenario.study, folder, init=backbone / "model.safetensors")
    return Promised.of(scenario, folder)


class Watching(InProcessGrid):
    """Notes how many bytes of numbers every message carries, in both directions."""

    def __init__(self, homes: dict[Any, Path]) -> None:
        super().__init__(homes)
        self.sizes: set[int] = set()

    def _note(self, message: Message) -> None:
        for record in message.content.array_records.values():
            self.sizes |= {len(array.data) for array in record.values()}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        for message in sent:
            self._note(message)
        return super().push_messages(sent)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            self._note(reply)
        return replies


@pytest.mark.parametrize(("trust", "mode"), [("local", "open"), ("local", "private"), ("distributed", "private")])
def test_only_what_is_trained_moves_and_travels(trust: str, mode: str, backbone: Path, tmp_path: Path) -> None:
    scenario = fine_tuned(backbone, trust)
    if mode == "private" and trust == "local":
        scenario = with_model(
            promised_scenario(trust=trust, mode=mode, epsilon=4.0), **scenario.study.model.model_dump()
        )
    run = promised(scenario, backbone, tmp_path)
    grid = Watching(run.homes)
    run.coordinate(grid)
    before = load_file(backbone / "model.safetensors")
    after = load_file(tmp_path / "out" / run.run / "model" / "model.safetensors")
    assert before.keys() == after.keys(), "the saved model is complete"
    trained = {name for name in before if name.startswith(("features.1.", "head."))}
    for name, array in before.items():
        if name in trained:
            assert not np.array_equal(array, after[name]), f"the positive control: {name} moved"
        else:
            assert array.tobytes() == after[name].tobytes(), name
    values, whole = sum(before[name].size for name in trained), sum(array.size for array in before.values())
    masked = {(values + 1) * run.study.ring_bits // 8} if mode == "private" else set()  # with the sum of the weights
    assert grid.sizes == {4 * values} | masked
    assert values < whole


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_without_noise_the_model_is_the_one_worked_out_patient_by_patient(
    trust: str, backbone: Path, tmp_path: Path
) -> None:
    """The oracle's frozen weights come from the file, as NumPy reads it."""
    choice: dict[str, Any] = {"init": digest(backbone), "trained": TRAINED, "init_data": "public"}
    scenario = with_model(promised_scenario(rounds=1, trust=trust), **choice)
    run = promised(scenario, backbone, tmp_path)
    run.coordinate()
    step = 0.5 * run.clipped_sum(run.study.site_ids, run.initial) / 40
    np.testing.assert_allclose(run.model(), run.initial - step, rtol=0, atol=1e-5)
    assert np.abs(run.model() - run.initial).max() > 1e-3, "the positive control: it moved"


def test_every_arm_of_a_simulation_begins_with_the_file_and_its_model_is_scored_elsewhere(
    backbone: Path, tmp_path: Path
) -> None:
    scenario = fine_tuned(backbone, "local")
    arms = scenario.simulation.model_copy(update={"arms": ("federated", "centralised", "local")})
    request = new_request(replace(scenario, simulation=arms), device="cpu")
    run = tmp_path / "run"
    results = simulate(request, run, init=backbone / "model.safetensors")
    assert results.status == "completed"
    first = load_file(backbone / "model.safetensors")["features.0.0.weight"]
    for model in sorted((run / "jobs").glob("*/model/model.safetensors")):
        assert np.array_equal(load_file(model)["features.0.0.weight"], first), model
    statement = json.loads((run / "privacy.json").read_text())
    answers = {found["id"]: found for chapter in statement["chapters"] for found in chapter["answers"]}
    told = " ".join(answers["initial-weights"]["answer"])
    assert digest(backbone) in told
    assert "features.1, head" in told
    assert answers["initial-weights"]["facts"]["init_data"] == "none"
    assert any(digest(backbone) in paragraph for paragraph in statement["summary"])
    assert digest(backbone) in (run / "report.html").read_text()
    manifest = next((run / "sites").glob("site0/*.toml"))
    elsewhere = evaluate_model(run / "model", manifest, None, tmp_path / "scores", device="cpu")
    same = cases(run / "cases.csv", "federated", "site0").merge(
        cases(tmp_path / "scores" / "cases.csv", "model", "site0"), on="sample"
    )
    assert len(same) > 3
    np.testing.assert_allclose(same["score_x"], same["score_y"], rtol=1e-6)  # the batches are others
    assert elsewhere.study.id == scenario.study.id


def test_a_curve_and_an_attack_take_the_file_too(backbone: Path, tmp_path: Path) -> None:
    scenario, file = fine_tuned(backbone, "local"), backbone / "model.safetensors"
    kept = f"{digest(backbone)}.safetensors"
    request = curve_request(new_request(scenario, seeds=1, device="cpu"), [4.0], ["local"])
    with pytest.raises(WardroundError, match="WR-1208"):
        draw_curve(request, tmp_path / "without")
    curves = draw_curve(request, tmp_path / "curve", init=file)
    assert (tmp_path / "curve" / "models" / kept).read_bytes() == file.read_bytes()
    assert curves.value("local-4", "mean") is not None
    where = {"device": "cpu", "workers": 1, "finished": None}
    with pytest.raises(WardroundError, match="WR-1208"):
        Runs.open(scenario, None, tmp_path / "no attack", **where)
    Runs.open(scenario, None, tmp_path / "attack", init=file, **where)
    assert (tmp_path / "attack" / "models" / kept).read_bytes() == file.read_bytes()


def test_an_interrupted_run_goes_on_without_the_file(backbone: Path, tmp_path: Path) -> None:
    request = new_request(fine_tuned(backbone), device="cpu")
    run = tmp_path / "run"
    first = simulate(request, run, init=backbone / "model.safetensors")
    (run / "jobs" / "federated.seed0" / "done.json").unlink()
    (run / "results.json").unlink()
    assert simulate(request, run).model == first.model


def test_a_head_for_other_labels_is_drawn_anew(backbone: Path) -> None:
    scenario = fine_tuned(backbone)
    fields = scenario.study.model_dump(by_alias=True)
    fields["task"] |= {"target": "multilabel", "labels": ["one", "two"]}
    content = (backbone / "model.safetensors").read_bytes()
    study = build_study(fields)
    with pytest.raises(WardroundError, match=r"head\.\w+ is .* in the file") as refused:
        initial_model(study, seed=3, weights=lambda _: content)
    assert refused.value.code == "WR-1209"
    fields["model"]["fresh"] = ["head"]
    study = build_study(fields)
    found, drawn = initial_model(study, seed=3, weights=lambda _: content), build_model(study, seed=3)
    assert torch.equal(found.get_parameter("head.weight"), drawn.get_parameter("head.weight"))
    stored = load_file(backbone / "model.safetensors")["features.1.0.weight"]
    assert np.array_equal(found.get_parameter("features.1.0.weight").detach().numpy(), stored)


@pytest.mark.parametrize(
    ("choice", "code", "named"),
    [
        ({"init_data": None}, "WR-1819", "does not say whose data"),
        ({"init_data": "overlapping"}, "WR-1819", "patients whom it makes a promise to"),
        ({"trained": ["heads"]}, "WR-1210", "features.0, features.1, head"),
        ({"fresh": ["features.1.9"]}, "WR-1210", "features.1.9"),
        ({"trained": []}, "WR-1002", "nothing is left to train"),
        ({"trained": ["features.1"], "fresh": ["head"]}, "WR-1002", "not trained"),
        ({"init": None}, "WR-1002", "init names none"),
        ({"init": "0" * 63}, "WR-1002", "init"),
        ({"init_data": "somewhere"}, "WR-1002", "init_data"),
    ],
)
def test_studies_that_say_too_little_are_refused(
    choice: dict[str, Any], code: str, named: str, backbone: Path, tmp_path: Path
) -> None:
    find_weights(fine_tuned(backbone).study, tmp_path, init=backbone / "model.safetensors")  # the positive control
    with pytest.raises(WardroundError, match=named) as refused:
        simulate(
            new_request(fine_tuned(backbone, **choice), device="cpu"),
            tmp_path / "run",
            init=backbone / "model.safetensors",
        )
    assert refused.value.code == code
    assert not (tmp_path / "run" / "hospitals").exists()


def test_files_that_are_not_the_one_are_refused(backbone: Path, tmp_path: Path) -> None:
    request, right = new_request(fine_tuned(backbone), device="cpu"), backbone / "model.safetensors"
    with pytest.raises(WardroundError, match=f"models/{digest(backbone)}") as refused:
        simulate(request, tmp_path / "run")
    assert refused.value.code == "WR-1208"
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(right.read_bytes()[:-1] + b"\0")
    with pytest.raises(WardroundError, match="has the SHA-256") as refused:
        simulate(request, tmp_path / "run", init=changed)
    assert refused.value.code == "WR-1208"
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\0" * 100)
    other = with_model(promised_scenario(), init=hashlib.sha256(garbage.read_bytes()).hexdigest(), init_data="public")
    with pytest.raises(WardroundError, match="no safetensors file") as refused:
        simulate(new_request(other, device="cpu"), tmp_path / "run", init=garbage)
    assert refused.value.code == "WR-1208"
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    (data / "models" / f"{digest(backbone)}.safetensors").write_bytes(right.read_bytes())
    assert simulate(new_request(fine_tuned(backbone), data, device="cpu"), tmp_path / "other").status == "completed"


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_a_hospital_takes_the_file_from_its_own_home_alone(trust: str, backbone: Path, tmp_path: Path) -> None:
    """The others of this process hold it, and the coordinator does; nothing is reserved where it is missing."""
    run = promised(fine_tuned(backbone, trust), backbone, tmp_path)
    home = run.hospitals[run.study.site_ids[0]].home
    held = home.path / "models" / f"{digest(backbone)}.safetensors"
    content = held.read_bytes()
    held.unlink()
    with pytest.raises(WardroundError, match=r"WR-1208|WR-1303|WR-1306|WR-1713|WR-1711"):
        run.coordinate()
    assert home.ledger.state().runs == {}
    held.write_bytes(content)
    run.coordinate(run="again")
    assert len(home.ledger.state().runs) == 1


def cases(path: Path, arm: str, site: str) -> pd.DataFrame:
    found = pd.read_csv(path)
    return found[(found["arm"] == arm) & (found["test_site"] == site)][["sample", "score"]]
