"""A model folder is read back only if all its files belong together."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from fakes.scenarios import chest_scenario
from safetensors.numpy import load

from wardround.common.errors import WardroundError
from wardround.common.model_folder import decode_model, encode_model
from wardround.common.study import build_study
from wardround.common.vector import Entry, Layout, vector_hash

LAYOUT = Layout((Entry("weight", (2, 3)), Entry("bias", (2,))))
VECTOR = np.arange(8, dtype=np.float32)
STUDY = chest_scenario().study


def files(**card: Any) -> dict[str, bytes]:
    recorded = {"study": STUDY.id, "model": vector_hash(VECTOR), "seed": 0} | card
    return encode_model(STUDY, LAYOUT, VECTOR, recorded)


def refused(content: dict[str, bytes]) -> str:
    with pytest.raises(WardroundError) as error:
        decode_model(content)
    return error.value.code


def test_a_model_survives() -> None:
    study, layout, vector, card = decode_model(files())
    assert (study, layout, card["seed"]) == (STUDY, LAYOUT, 0)
    np.testing.assert_array_equal(vector, VECTOR)


def test_the_study_of_another_model_is_refused() -> None:
    """Other preprocessing would give other scores without a sign of it."""
    other = chest_scenario(input={"size": [32, 32], "normalisation": "minmax"}).study
    assert refused(files() | {"study.json": other.canonical()}) == "WR-1503"


def test_the_weights_of_another_model_are_refused() -> None:
    assert refused(files(model=vector_hash(VECTOR + 1))) == "WR-1503"


@pytest.mark.parametrize("seed", ["0", None, -1, 1.5, True, 2**60])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    assert refused(files(seed=seed)) == "WR-1503"


@pytest.mark.parametrize("name", ["card.json", "layout.json", "study.json"])
@pytest.mark.parametrize("value", [[], {}, None, 1, "x", {"entries": 1, "hash": 2}])
def test_other_json_is_refused(name: str, value: Any) -> None:
    assert refused(files() | {name: json.dumps(value).encode()}) == "WR-1503"


@pytest.mark.parametrize("name", ["card.json", "layout.json", "study.json", "model.safetensors"])
def test_missing_and_shortened_files_are_refused(name: str) -> None:
    content = files()
    assert refused({key: value for key, value in content.items() if key != name}) == "WR-1503"
    assert refused(content | {name: content[name][:-9]}) == "WR-1503"


def test_a_model_with_frozen_parts_is_complete_and_a_changed_one_is_refused() -> None:
    fields = STUDY.model_dump(by_alias=True)
    fields["model"] |= {"init": "0" * 64, "trained": ["head"]}
    study = build_study(fields)
    card = {"study": study.id, "model": vector_hash(VECTOR), "seed": 0}
    frozen = {"features": np.ones(3, dtype=np.float32)}
    content = encode_model(study, LAYOUT, VECTOR, card, frozen)
    assert load(content["model.safetensors"]).keys() == {"weight", "bias", "features"}
    found, layout, vector, recorded = decode_model(content)
    assert (found, layout) == (study, LAYOUT)
    np.testing.assert_array_equal(vector, VECTOR)
    assert recorded["weights"] == hashlib.sha256(content["model.safetensors"]).hexdigest()
    other = encode_model(study, LAYOUT, VECTOR, card, {"features": np.zeros(3, dtype=np.float32)})
    assert refused(content | {"model.safetensors": other["model.safetensors"]}) == "WR-1503"
