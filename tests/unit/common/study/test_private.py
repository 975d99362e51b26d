"""The settings of a private study: what is filled in, what is refused, what the id holds."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import Strength
from wardround.common.study import Study, build_study
from wardround.common.vector import Layout


def fields(
    sites: int = 3, *, mode: str = "private", weights: str = "patients", secure: dict[str, Any] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": 1,
        "name": "chest",
        "title": "Chest radiographs",
        "sites": [f"site{number}" for number in range(sites)],
        "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
        "input": {"size": [64, 64]},
        "model": {"name": "small_cnn"},
        "training": {"rounds": 2, "epochs": 2, "loss": "bce"},
        "aggregation": {"mode": mode, "weights": weights},
    }
    if secure is not None:
        found["aggregation"]["secure"] = {"update_rms": 0.01} | secure
    return found


def private(sites: int = 3, *, weights: str = "patients", **secure: Any) -> Study:
    return build_study(fields(sites, weights=weights, secure=secure))


def refusal(wrong: dict[str, Any]) -> str:
    with pytest.raises(WardroundError) as refused:
        build_study(wrong)
    assert refused.value.code == "WR-1002"
    return refused.value.what


def test_a_private_study_without_settings_is_told_what_to_write() -> None:
    build_study(fields(mode="open"))
    said = refusal(fields())
    assert "[aggregation.secure]" in said
    assert "update_rms" in said
    assert "--write-bounds" in said


def test_an_open_study_may_carry_the_settings_and_they_are_part_of_its_id() -> None:
    plain, carrying = build_study(fields(mode="open")), build_study(fields(mode="open", secure={}))
    assert carrying.id != plain.id
    assert not carrying.private
    assert carrying.aggregation.secure is not None
    assert carrying.aggregation.secure.ring_bits is None, "nothing is filled in before it takes effect"


def test_a_study_without_the_settings_has_the_id_that_it_had_before_they_existed() -> None:
    canonical = json.loads(build_study(fields(mode="open")).canonical())
    assert canonical["aggregation"].keys() == {"mode", "algorithm", "weights", "server_learning_rate", "min_sites"}
    assert "secure" in json.loads(private().canonical())["aggregation"], "the positive control"


@pytest.mark.parametrize(("sites", "colluding"), [(3, 0), (4, 1), (5, 1), (7, 2), (10, 3), (50, 16), (128, 42)])
def test_a_third_of_the_sites_may_collude_unless_the_study_says_otherwise(sites: int, colluding: int) -> None:
    assert private(sites).colluding == colluding
    assert private(sites, colluding=sites - 2).colluding == sites - 2


@pytest.mark.parametrize("sites", [3, 5, 50])
@pytest.mark.parametrize("clip_factor", [1.0, 8.0, 64.0])
@pytest.mark.parametrize("weights", ["patients", "equal"])
def test_the_ring_follows_from_the_rounding_rule(sites: int, clip_factor: float, weights: str) -> None:
    levels = (2**15 - 1) // sites
    mean_weight = 1.0 if weights == "equal" else 0.25
    # A stochastic rounding errs by half a step at most (RMS); n of them, over n weights of a quarter each.
    share = 0.5 / levels * clip_factor * math.sqrt(sites) / (sites * mean_weight)
    study = private(sites, weights=weights, clip_factor=clip_factor, mean_weight=0.25)
    assert study.ring_bits == (16 if share <= 0.01 else 32)


def test_the_canonical_form_holds_what_was_filled_in() -> None:
    left_out, written = private(5), private(5, ring_bits=32, colluding=1)
    assert left_out.id == written.id
    secure = json.loads(left_out.canonical())["aggregation"]["secure"]
    assert (secure["ring_bits"], secure["colluding"], secure["strength"]) == (32, 1, "active")
    assert Study.model_validate_json(left_out.canonical()).id == left_out.id
    assert private(5, colluding=2).id != left_out.id


def test_a_ring_that_would_round_too_much_is_refused_with_the_share() -> None:
    assert private(3, weights="equal", ring_bits=16).ring_bits == 16
    said = refusal(fields(3, secure={"ring_bits": 16}))
    assert "1.7%" in said  # 64 / (2 * 10922 * sqrt(3) * 0.1)
    assert "leave ring_bits out" in said


def test_a_larger_ring_than_needed_is_taken() -> None:
    assert private(3, weights="equal").ring_bits == 16
    assert private(3, weights="equal", ring_bits=32).ring_bits == 32


@pytest.mark.parametrize(
    ("sites", "secure", "named"),
    [
        (2, {}, "3 to 128 sites"),
        (129, {}, "3 to 128 sites"),
        (3, {"colluding": 2}, "at most 1 may collude"),
        (5, {"colluding": -1}, "colluding"),
        (3, {"update_rms": 0}, "update_rms"),
        (3, {"update_rms": float("inf")}, "update_rms"),
        (3, {"update_rms_of": {"head.bias": -1.0}}, "head.bias"),
        (3, {"clip_factor": 0.5}, "clip_factor"),
        (3, {"ring_bits": 24}, "ring_bits"),
        (3, {"weight_cap": 0}, "weight_cap"),
        (3, {"mean_weight": 1.5}, "mean_weight"),
        (3, {"attempts": 11}, "attempts"),
        (3, {"strength": "strong"}, "strength"),
        (3, {"treshold": 2}, "treshold"),
    ],
)
def test_wrong_settings_are_refused_by_name(sites: int, secure: dict[str, Any], named: str) -> None:
    build_study(fields(3, secure={}))
    assert named in refusal(fields(sites, secure=secure))


def test_sites_that_are_wrong_themselves_are_reported_with_the_rest() -> None:
    wrong = fields(3, secure={}) | {"sites": ["North Wing"]}
    assert "sites" in refusal(wrong)


def test_patients_are_capped_and_equal_weights_are_one() -> None:
    assert private(weight_cap=400).aggregation.weight_cap == 400
    assert private(weights="equal", weight_cap=400).aggregation.weight_cap == 1


def test_strength_is_the_active_one_unless_the_study_says_otherwise() -> None:
    assert private().secure.strength is Strength.ACTIVE
    assert private(strength="semi-honest").secure.strength is Strength.SEMI_HONEST


def test_every_tensor_has_its_bound() -> None:
    layout = Layout.of({"weight": np.zeros((3, 4), np.float32), "running_var": np.zeros(4, np.float32)})
    secure = private(clip_factor=8, update_rms_of={"running_var": 2.0}).secure
    assert secure.bounds(layout) == ((12, 0.08), (4, 16.0))
    with pytest.raises(WardroundError, match="running_vr") as refused:
        private(update_rms_of={"running_vr": 2.0}).secure.bounds(layout)
    assert refused.value.code == "WR-1002"


def test_an_open_study_has_no_secure_sum() -> None:
    study = build_study(fields(mode="open", secure={}))
    for name in ("secure", "colluding", "ring_bits"):
        getattr(private(), name)
        with pytest.raises(RuntimeError, match="private"):
            getattr(study, name)
    with pytest.raises(RuntimeError, match="open"):
        _ = build_study(fields(mode="open")).aggregation.weight_cap
