"""The promise of a study: what is filled in, what is refused, what the id holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wardround.common.errors import WardroundError
from wardround.common.privacy import pld
from wardround.common.study import Study, build_study

PROMISE = {"trust": "distributed", "epsilon": 8.0, "patients": 120, "rate": 0.5}


def fields(sites: int = 3, **sections: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": 1,
        "name": "chest",
        "title": "Chest radiographs",
        "sites": [f"site{number}" for number in range(sites)],
        "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
        "input": {"size": [64, 64]},
        "model": {"name": "small_cnn"},
        "training": {"rounds": 20, "epochs": 2, "loss": "bce"},
        "aggregation": {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}},
        "selection": {"rule": "ema"},
        "privacy": PROMISE,
    }
    for name, section in sections.items():
        found[name] = found.get(name, {}) | section
    return found


def study(sites: int = 3, **sections: Any) -> Study:
    return build_study(fields(sites, **sections))


def refusal(code: str, **sections: Any) -> str:
    study()  # the positive control
    with pytest.raises(WardroundError) as refused:
        study(**sections)
    assert refused.value.code == code
    return refused.value.what


def test_the_smallest_noise_that_keeps_the_promise_is_filled_in() -> None:
    found = study().promise
    assert found.noise_multiplier is not None
    assert 7.9 < pld.epsilon(found.step, 20, found.delta) <= 8.0


def test_every_local_step_is_charged() -> None:
    one = study(privacy={"trust": "local"}).promise
    five = study(privacy={"trust": "local", "local_steps": 5}).promise
    hundred = study(privacy={"trust": "local"}, training={"rounds": 100}).promise
    assert one.noise_multiplier is not None
    assert five.noise_multiplier == hundred.noise_multiplier
    assert five.noise_multiplier is not None
    assert five.noise_multiplier > 1.5 * one.noise_multiplier


def test_the_noise_is_part_of_the_study_s_id() -> None:
    canonical = json.loads(study().canonical())
    assert canonical["privacy"]["noise_multiplier"] == study().promise.noise_multiplier
    assert Study.model_validate_json(study().canonical()).id == study().id


def test_a_study_without_a_promise_has_the_id_that_it_had_before_promises_existed() -> None:
    plain = fields(aggregation={"mode": "open"})
    del plain["privacy"]
    assert "privacy" not in json.loads(build_study(plain).canonical())


def test_a_given_multiplier_must_keep_the_promise() -> None:
    solved = study().promise.noise_multiplier
    assert solved is not None
    assert study(privacy={"noise_multiplier": 2 * solved}).promise.noise_multiplier == 2 * solved
    assert "more than the 8 promised" in refusal("WR-1801", privacy={"noise_multiplier": solved / 2})
    nearly = refusal("WR-1801", privacy={"noise_multiplier": solved - 1e-4})
    assert float(nearly.split("cost epsilon ")[1].split()[0]) > 8, "never: cost epsilon 8, more than the 8 promised"


def test_an_epsilon_that_no_noise_reaches_is_refused() -> None:
    refusal("WR-1801", privacy={"epsilon": 0.001, "rate": 1.0}, training={"rounds": 10_000})


def test_infinite_epsilon_has_no_noise() -> None:
    found = study(privacy={"epsilon": "infinite"}).promise
    assert found.noise_multiplier == 0
    assert not found.noisy
    assert found.promised is None
    assert study(privacy={"epsilon": "infinite", "noise_multiplier": 0}).id == study(privacy={"epsilon": "infinite"}).id
    assert "leave out noise_multiplier" in refusal("WR-1002", privacy={"epsilon": "infinite", "noise_multiplier": 0.5})


def test_a_rate_at_which_a_site_expects_nobody_is_refused() -> None:
    assert "0.8 patients" in refusal("WR-1802", privacy={"rate": 0.02})


@pytest.mark.parametrize("name", ["seed", "noise_seed", "Seeds"])
def test_a_study_does_not_seed_noise(name: str) -> None:
    assert name in refusal("WR-1806", privacy={name: 1})


def test_a_study_does_not_seed_the_noise_of_validations() -> None:
    paid = {"epsilon": 1.0}
    assert study(privacy={"validation": paid}).promise.validation is not None
    assert "privacy.validation.seed" in refusal("WR-1806", privacy={"validation": paid | {"seed": 1}})


@pytest.mark.parametrize(
    "name",
    [
        *("epsilon", "delta", "patients", "rate", "local_steps", "clip"),
        *("images_per_patient", "augmentations", "noise_multiplier"),
    ],
)
@pytest.mark.parametrize("value", [True, "1", "nan"])
def test_what_a_promise_rests_on_is_a_number(name: str, value: object) -> None:
    assert study(privacy={"rate": 1, "clip": 1, "epsilon": 8}).promise.rate == 1.0, "a whole number is a number"
    assert f"privacy.{name}: " in refusal("WR-1002", privacy={name: value})


@pytest.mark.parametrize("name", ["epsilon", "times", "loss_cap", "noise_multiplier"])
@pytest.mark.parametrize("value", [True, "1"])
def test_what_validations_rest_on_is_a_number(name: str, value: object) -> None:
    assert study(privacy={"validation": {"epsilon": 1, "loss_cap": 1}}).promise.validation is not None
    assert f"privacy.validation.{name}: " in refusal("WR-1002", privacy={"validation": {"epsilon": 1.0, name: value}})


@pytest.mark.parametrize("epsilon", [0, -1, 1001, True, "8", "unlimited", float("nan"), float("inf"), None, [8]])
def test_a_wrong_epsilon_is_one_plain_sentence(epsilon: object) -> None:
    said = refusal("WR-1002", privacy={"epsilon": epsilon})
    assert said == ('The study is not valid: privacy.epsilon: it is a number above 0 and at most 1000, or "infinite".')


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"rate": 0.0}, {"unknown": 1}, {"noise_multiplier": 5000.0}])
def test_a_wrong_promise_is_one_complaint_and_no_bounds_are_missed(wrong: dict[str, Any]) -> None:
    """Noise needs no update_rms; a promise that is refused is still one."""
    right = fields()
    right["aggregation"] = {"mode": "private", "weights": "equal"}
    assert build_study(right).distributed
    with pytest.raises(WardroundError) as refused:
        build_study(right | {"privacy": PROMISE | wrong})
    assert refused.value.what.startswith(f"The study is not valid: privacy.{next(iter(wrong))}")
    assert "aggregation" not in refused.value.what


@pytest.mark.parametrize(
    ("said", "sections"),
    [
        ("aggregation.weights", {"aggregation": {"weights": "patients"}}),
        ("selection.rule", {"selection": {"rule": "validation"}}),
        ("training.class_weight", {"training": {"class_weight": "inverse_frequency"}}),
        ("aggregation.mode", {"aggregation": {"mode": "open"}}),
    ],
)
def test_what_would_leave_unpaid_is_refused(said: str, sections: dict[str, Any]) -> None:
    assert said in refusal("WR-1805", **sections)


@pytest.mark.parametrize(
    ("said", "promise"),
    [
        ("delta", {"delta": 1e-4}),
        ("1 / (10 * patients)", {"patients": 20_000}),
        ("one step a round", {"local_steps": 2}),
        ("rate", {"rate": 1.5}),
        ("epsilon", {"epsilon": float("inf")}),
        ("clip", {"clip": 0.0}),
        ("unknown", {"unknown": 1}),
    ],
)
def test_what_is_out_of_range_is_named(said: str, promise: dict[str, Any]) -> None:
    assert said in refusal("WR-1002", privacy=promise)


def test_distributed_noise_takes_the_ring_of_32_bits_and_the_sites_that_are_certain() -> None:
    found = study(5)
    assert found.ring_bits == 32
    assert found.colluding == 1
    assert found.aggregation.min_sites == 4, "t = (5 + 1) // 2 + 1"
    assert study(5, aggregation={"min_sites": 5}).aggregation.min_sites == 5
    assert "ring of 32 bits" in refusal("WR-1002", aggregation={"secure": {"ring_bits": 16}})


def test_local_noise_works_in_open_mode() -> None:
    found = study(privacy={"trust": "local"}, aggregation={"mode": "open"})
    assert not found.distributed
    assert found.promise.noisy


def test_validations_have_a_budget_of_their_own() -> None:
    paid = study(privacy={"validation": {"epsilon": 1.0, "times": 3}}).promise
    assert paid.noise_multiplier == study().promise.noise_multiplier, "other patients pay for them"
    assert paid.validation is not None
    assert 0.99 < pld.epsilon(paid.validation.step, 3, paid.delta) <= 1.0
    assert "more than the 20 rounds" in refusal("WR-1002", privacy={"validation": {"epsilon": 1.0, "times": 21}})
    none_left = {"split": {"validation": 0.0}, "privacy": {"validation": {"epsilon": 1.0}}}
    assert "split.validation" in refusal("WR-1002", **none_left)


@pytest.mark.parametrize(
    ("rounds", "times", "expected"), [(4, 2, [2, 4]), (4, 4, [1, 2, 3, 4]), (10, 3, [4, 7, 10]), (7, 1, [7])]
)
def test_validations_are_spread_evenly(rounds: int, times: int, expected: list[int]) -> None:
    found = study(training={"rounds": rounds}, privacy={"validation": {"epsilon": 1.0, "times": times}})
    places = {number: found.paid_validation(number) for number in range(1, rounds + 1)}
    assert [number for number, place in places.items() if place is not None] == expected
    assert [place for place in places.values() if place is not None] == list(range(1, times + 1))
    assert study().paid_validation(1) is None


def test_a_promise_asks_for_a_split_of_each_patient_alone() -> None:
    promised = study()
    assert promised.split.independent
    assert json.loads(promised.canonical())["split"]["independent"] is True
    plain = fields(aggregation={"mode": "open"})
    del plain["privacy"]
    assert not build_study(plain).split.independent
    assert "independent" not in json.loads(build_study(plain).canonical())["split"], "such studies keep their id"
