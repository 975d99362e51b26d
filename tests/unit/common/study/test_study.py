"""The study: what is accepted, what is refused, and what its id depends on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from wardround.common.errors import WardroundError
from wardround.common.study import Study, build_study, parse_toml, with_settings

FIELDS: dict[str, Any] = {
    "schema": 1,
    "name": "chest",
    "title": "Chest radiographs",
    "sites": ["north", "south"],
    "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
    "input": {"size": [64, 64]},
    "model": {"name": "small_cnn"},
    "training": {"rounds": 2, "epochs": 2, "loss": "bce"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    fields = copy.deepcopy(FIELDS)
    section = fields
    *parents, last = path.split(".")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return fields


def test_id_is_the_hash_of_the_canonical_form() -> None:
    study = build_study(FIELDS)
    assert study.id.startswith("sha256:")
    assert Study.model_validate_json(study.canonical()).id == study.id


def test_id_does_not_depend_on_the_order_of_fields() -> None:
    turned = dict(reversed(FIELDS.items()))
    assert build_study(turned).id == build_study(FIELDS).id


def test_id_depends_on_spelt_out_defaults_only_by_their_value() -> None:
    assert build_study(changed("training.batch_size", 16)).id == build_study(FIELDS).id
    assert build_study(changed("training.batch_size", 17)).id != build_study(FIELDS).id


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("training.learning_rat", 0.1, "training.learning_rat"),
        ("training.rounds", 0, "training.rounds"),
        ("training.learning_rate", float("nan"), "training.learning_rate"),
        ("training.loss", "dice_ce", "training.loss"),
        ("input.size", [64, 64, 64], "input.size"),
        ("input.size", [4, 64], "input.size"),
        ("input.spacing_mm", [1.0], "input.spacing_mm"),
        ("sites", ["north", "north"], "twice"),
        ("sites", ["North Wing"], "sites"),
        ("sites", ["north", "worst"], "no site may be called"),
        ("task.labels", ["mean"], "labels"),
        ("task.labels", ["a", "b"], "binary"),
        ("task.tabular", ["age"], "tabular"),
        ("split.test", 0.9, "leave no patient"),
        ("split.validation", 0.0, "validation"),
        ("aggregation.min_sites", 3, "min_sites"),
        ("aggregation.mode", "robust", "aggregation.mode"),
        ("schema", 2, "schema"),
    ],
)
def test_wrong_fields_are_refused_by_name(path: str, value: object, named: str) -> None:
    build_study(FIELDS)  # the positive control: without the change it is accepted
    with pytest.raises(WardroundError, match=named) as refused:
        build_study(changed(path, value))
    assert refused.value.code == "WR-1002"


def test_all_mistakes_are_reported_at_once() -> None:
    fields = changed("training.rounds", 0) | {"name": "Bad Name"}
    with pytest.raises(WardroundError) as refused:
        build_study(fields)
    assert "training.rounds" in refused.value.what
    assert "name" in refused.value.what


def test_a_study_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        build_study(FIELDS).name = "other"  # type: ignore[misc]


def test_settings_change_single_fields() -> None:
    study = build_study(with_settings(FIELDS, ["training.rounds=7", "title=A title = with signs", "split.seed = 3"]))
    assert (study.training.rounds, study.title, study.split.seed) == (7, "A title = with signs", 3)
    assert FIELDS["training"]["rounds"] == 2


@pytest.mark.parametrize("setting", ["training.rounds", "=3", "name.inner=1", "training..rounds=1"])
def test_malformed_settings_are_refused(setting: str) -> None:
    with pytest.raises(WardroundError) as refused:
        with_settings(FIELDS, [setting])
    assert refused.value.code == "WR-1003"


def test_text_that_is_not_toml_is_refused() -> None:
    assert parse_toml("a = 1") == parse_toml("\ufeffa = 1") == {"a": 1}
    with pytest.raises(WardroundError) as refused:
        parse_toml("a = ")
    assert refused.value.code == "WR-1001"


def test_chinese_titles_and_labels_are_welcome() -> None:
    fields = changed("task.labels", ["异常"]) | {"title": "三家医院的胸片"}
    assert build_study(fields).task.labels == ("异常",)
