"""Fine-tuning: which tensors are trained, which file fits, and what stays as it is."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from wardround.client.data.prepare import PreparedSet
from wardround.client.train.device import choose_device
from wardround.client.train.local import train
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model, initial_model
from wardround.common.models.initial import frozen_arrays, trained_parameters, training_mode
from wardround.common.models.state import state_arrays
from wardround.common.study import Study, build_study
from wardround.common.vector import Layout
from wardround.common.weights import verified

INIT = "0" * 64


def study(norm: str = "group", **model: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": {"kind": "classification", "target": "binary", "labels": ["lesion"], "dimensions": 2},
            "input": {"size": (16, 16)},
            "model": {"name": "small_cnn", "parameters": {"widths": (8, 16), "norm": norm}} | model,
            "training": {"rounds": 1, "epochs": 1, "batch_size": 4, "loss": "bce"},
        }
    )


def stored(norm: str = "group", **changes: Any) -> bytes:
    """The weights of another seed, with tensors added, replaced or, where None, taken away."""
    arrays = state_arrays(build_model(study(norm), seed=9)) | changes
    return save({name: array for name, array in arrays.items() if array is not None})


def opened(plan: Study, content: bytes) -> torch.nn.Module:
    return initial_model(plan, seed=0, weights=lambda _: content)


def test_studies_without_initial_weights_keep_their_id() -> None:
    assert b"init" not in study().canonical()
    assert b"trained" not in study(init=INIT).canonical()
    assert study(init=INIT).id != study().id
    again = Study.model_validate_json(study(init=INIT, trained=["head"], init_data="public").canonical())
    assert (again.model.trained, again.model.init_data) == (("head",), "public")


@pytest.mark.parametrize(
    ("trained", "names"),
    [
        (["head"], {"head.weight", "head.bias"}),
        (["head.bias"], {"head.bias"}),
        (["features.1.0", "head"], {"features.1.0.weight", "head.weight", "head.bias"}),
    ],
)
def test_prefixes_count_in_whole_parts(trained: list[str], names: set[str]) -> None:
    plan = study(init=INIT, trained=trained)
    model = opened(plan, stored())
    assert set(trained_parameters(model)) == names
    assert set(state_arrays(model, plan.model.travels)) == names
    assert set(frozen_arrays(model, plan.model)) == set(state_arrays(model)) - names
    assert not plan.model.travels("header.weight")
    assert not study(init=INIT, trained=["features.1"]).model.travels("features.10.weight")


def test_every_tensor_is_that_of_the_file_and_fresh_ones_are_drawn() -> None:
    content = stored()
    model = state_arrays(opened(study(init=INIT, fresh=["head"]), content))
    drawn, wanted = state_arrays(build_model(study(), seed=0)), load(content)
    for name, array in model.items():
        np.testing.assert_array_equal(array, (drawn if name.startswith("head.") else wanted)[name])
    assert not np.array_equal(drawn["features.0.0.weight"], wanted["features.0.0.weight"])


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"head.bias": None}, "WR-1209", "lacks head.bias"),
        ({"decoder.weight": np.zeros(3, np.float32)}, "WR-1209", "holds decoder.weight"),
        ({"head.weight": np.zeros((2, 16), np.float32)}, "WR-1209", r"head.weight is \(2, 16\)"),
        ({"head.bias": np.zeros(1, np.float64)}, "WR-1208", "float64"),
        ({"head.bias": np.full(1, np.nan, np.float32)}, "WR-1208", "not finite"),
    ],
)
def test_a_file_of_another_model_is_refused(changes: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(WardroundError, match=named) as refused:
        opened(study(init=INIT), stored(**changes))
    assert refused.value.code == code
    if code == "WR-1209":  # the positive control: a head that is drawn anew may have any shape
        plan = study(init=INIT, fresh=["head"])
        if "decoder.weight" not in changes:
            opened(plan, stored(**changes))


def test_the_hash_decides() -> None:
    content = stored()
    digest = hashlib.sha256(content).hexdigest()
    assert verified(content, digest) == content
    with pytest.raises(WardroundError) as refused:
        verified(content, INIT)
    assert refused.value.code == "WR-1208"


def images(count: int = 12) -> PreparedSet:
    generator = np.random.default_rng(0)
    pixels = (3 + 2 * generator.normal(size=(count, 1, 16, 16))).astype(np.float32)
    targets = np.arange(count, dtype=np.uint8).reshape(-1, 1) % 2
    return PreparedSet(pixels, None, targets, tuple(map(str, range(count))), tuple(range(count)), ())


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_leaves_what_is_frozen_bit_for_bit(norm: str, optimizer: str) -> None:
    """Running statistics of a frozen batch normalisation included; weight decay must not reach it either."""
    plan = study(norm, init=INIT, trained=["features.1", "head"])
    settings = plan.training.model_copy(update={"optimizer": optimizer, "weight_decay": 0.1})
    plan = plan.model_copy(update={"training": settings})
    model = opened(plan, stored(norm))
    before = state_arrays(model)
    result = train(
        model,
        images(),
        np.arange(12),
        plan,
        start=0,
        samples=12,
        progress=0.0,
        seed=1,
        device=choose_device("cpu"),
        optimizer_state=None,
    )
    for name, array in state_arrays(model).items():
        assert np.array_equal(array, before[name]) != plan.model.travels(name), name
    places = len(trained_parameters(model))
    assert {key.partition(".")[0] for key in result.optimizer_state} == {f"{place:04d}" for place in range(places)}


def test_a_frozen_batch_normalisation_uses_its_running_statistics() -> None:
    plan = study("batch", init=INIT, trained=["head"])
    model = opened(plan, stored("batch"))
    training_mode(model, plan.model)
    one, two = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
    assert torch.allclose(model(torch.cat([one, two]))[:2], model(one), atol=1e-6)
    model.train()  # the positive control: statistics of the batch
    assert not torch.allclose(model(torch.cat([one, two]))[:2], model(one), atol=1e-3)


def test_the_layout_is_of_what_travels() -> None:
    whole = Layout.of(state_arrays(build_model(study(), seed=0)))
    plan = study(init=INIT, trained=["head"])
    head = Layout.of(state_arrays(build_model(plan, seed=0), plan.model.travels))
    assert (head.size, [entry.name for entry in head.entries]) == (17, ["head.weight", "head.bias"])
    assert head.size < whole.size
