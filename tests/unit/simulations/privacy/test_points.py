"""The studies of a curve: same steps, same patients, noise solved anew, and one without a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.promised_runs import promised_scenario
from fakes.scenarios import chest_scenario

from wardround.common.errors import WardroundError
from wardround.common.study import build_study
from wardround.simulations.experiment import new_request
from wardround.simulations.privacy.curve import CurveRequest, curve_request
from wardround.simulations.privacy.points import curve_points, read_epsilon, read_trust

if TYPE_CHECKING:
    from wardround.common.study import Study


def study_of(**promise: Any) -> Study:
    found: Study = promised_scenario(3, rounds=4, **({"epsilon": 8.0, "rate": 0.5} | promise)).study
    return found


def test_points_are_in_order_and_end_without_a_promise() -> None:
    points = curve_points(study_of(), [8.0, "infinite", 1.0], ["distributed", "local"])
    assert [point.name for point in points] == [
        *("distributed-1", "distributed-8", "distributed-inf", "local-1", "local-8", "local-inf", "no-promise")
    ]
    assert [point.study.privacy is None for point in points] == [False] * 6 + [True]


def test_noise_is_solved_for_each_epsilon_and_not_for_each_trust_model() -> None:
    noise = {
        point.name: point.study.promise.step.multiplier
        for point in curve_points(study_of(), [1.0, 8.0, "infinite"], ["distributed", "local"])[:-1]
    }
    assert noise["distributed-1"] > noise["distributed-8"] > noise["distributed-inf"] == 0
    assert {noise[f"local-{end}"] == noise[f"distributed-{end}"] for end in ("1", "8", "inf")} == {True}


def test_local_steps_become_rounds_where_a_round_has_one_step() -> None:
    study = study_of(trust="local", local_steps=3)
    shared, alone = (curve_points(study, [4.0], [trust])[0].study for trust in ("distributed", "local"))
    assert (shared.training.rounds, shared.promise.local_steps) == (12, 1)
    assert (alone.training.rounds, alone.promise.local_steps) == (4, 3)
    assert shared.promise.noise_multiplier == alone.promise.noise_multiplier


def test_modes_follow_the_trust_model() -> None:
    shared, alone, reference = curve_points(study_of(), [4.0], ["distributed", "local"])
    assert shared.study.distributed
    assert shared.study.aggregation.min_sites == 3
    assert (alone.study.private, reference.study.private) == (False, False)


def test_a_reference_may_be_another_study_of_the_same_patients() -> None:
    study = study_of()
    other = study.model_copy(update={"training": study.training.model_copy(update={"learning_rate": 0.01})})
    assert curve_points(study, [4.0], ["local"], other)[-1].study.training.learning_rate == 0.01
    elsewhere = study.model_copy(update={"split": study.split.model_copy(update={"test": 0.3})})
    with pytest.raises(WardroundError, match="WR-1817"):
        curve_points(study, [4.0], ["local"], elsewhere)


def test_a_reference_of_a_scenario_is_split_as_the_study_is() -> None:
    scenario = promised_scenario(3, epsilon=8.0, rate=0.5)
    fields = scenario.study.model_dump(by_alias=True)
    fields["aggregation"] |= {"mode": "open", "secure": None}
    other = build_study(
        fields
        | {
            "privacy": None,
            "split": {"seed": 7, "validation": 0.1, "test": 0.3},
            "training": fields["training"] | {"learning_rate": 0.01},
        }
    )
    request = curve_request(
        new_request(scenario, seeds=1, device="cpu"), [4.0], ["local"], type(scenario)(other, scenario.simulation)
    )
    promised, reference = (point.study for point in request.points)
    assert other.split != scenario.study.split
    assert reference.split == promised.split == scenario.study.split
    assert reference.training.learning_rate == 0.01


def test_a_reference_has_the_same_hospitals() -> None:
    scenario, other = (promised_scenario(3, epsilon=8.0, rate=0.5) for _ in range(2))
    request = new_request(scenario, seeds=1, device="cpu")
    assert isinstance(curve_request(request, [4.0], ["local"], other), CurveRequest)
    sites = [site.model_copy(update={"patients": 99}) for site in other.simulation.sites]
    elsewhere = type(other)(other.study, other.simulation.model_copy(update={"sites": tuple(sites)}))
    with pytest.raises(WardroundError, match="WR-1817"):
        curve_request(request, [4.0], ["local"], elsewhere)


@pytest.mark.parametrize(("epsilons", "trusts"), [([], ["local"]), ([1.0], []), ([1.0, 1.0], ["local"])])
def test_what_is_no_curve_is_refused(epsilons: list[Any], trusts: list[Any]) -> None:
    assert len(curve_points(study_of(), [1.0], ["local"])) == 2
    with pytest.raises(WardroundError, match="WR-1817"):
        curve_points(study_of(), epsilons, trusts)


def test_a_study_without_a_promise_has_no_curve() -> None:
    with pytest.raises(WardroundError, match="WR-1817"):
        curve_points(chest_scenario().study, [1.0], ["local"])


def test_epsilons_and_trust_models_are_read() -> None:
    assert [read_epsilon(text) for text in ("1", " 2.5", "infinite")] == [1.0, 2.5, "infinite"]
    assert [read_trust(text) for text in ("local", " distributed")] == ["local", "distributed"]


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "many"])
def test_what_is_no_epsilon_is_refused(text: str) -> None:
    with pytest.raises(WardroundError, match="WR-1817"):
        read_epsilon(text)


def test_what_is_no_trust_model_is_refused() -> None:
    with pytest.raises(WardroundError, match="WR-1817"):
        read_trust("central")
