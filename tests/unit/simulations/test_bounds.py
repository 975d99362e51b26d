"""Settings of a private study from measured updates: every number worked out by hand."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.scenarios import chest_fields, chest_scenario

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.study import Study, build_study
from wardround.common.vector import Layout
from wardround.common.wire.messages import Trained
from wardround.simulations.bounds import check_measurable, secure_table, write_bounds
from wardround.simulations.experiment import new_request
from wardround.simulations.update_sizes import RoundSizes, RoundTotal, TensorSizes, UpdateSizes

if TYPE_CHECKING:
    from pathlib import Path

Sizes = tuple[int, float, float, float]
"""Values, rms, largest, most."""

PATIENTS = {"north": 10, "coast": 20, "valley": 30}


def study(**sections: Any) -> Study:
    fields = {name: section for name, section in chest_fields().items() if name != "simulation"}
    return build_study(fields | sections)


def measured(*rounds: dict[str, Sizes], patients: dict[str, int] | None = None) -> UpdateSizes:
    return UpdateSizes(
        [
            RoundSizes(
                round=number,
                patients=patients or PATIENTS,
                tensors={
                    name: TensorSizes(values=values, rms=rms, largest=largest, most=most)
                    for name, (values, rms, largest, most) in tensors.items()
                },
            )
            for number, tensors in enumerate(rounds, start=1)
        ]
    )


def table(*runs: UpdateSizes, **sections: Any) -> dict[str, Any]:
    found = tomllib.loads(secure_table(study(**sections), runs))
    assert found.keys() == {"aggregation"}
    return dict(found["aggregation"]["secure"])


def test_only_the_last_quarter_of_the_rounds_is_late() -> None:
    early, late = {"weight": (8, 5.0, 5.0, 5.0)}, {"weight": (8, 0.5, 1.0, 1.0)}
    assert table(measured(early, early, early, late))["update_rms"] == 0.5
    assert table(measured(*[early] * 7, late))["update_rms"] == 3.6  # sqrt((25 + 0.25) / 2) = 3.553


def test_seeds_are_put_together() -> None:
    first, second = measured({"weight": (8, 3.0, 6.0, 6.0)}), measured({"weight": (8, 4.0, 24.0, 9.0)})
    found = table(first, second)
    assert found["update_rms"] == 3.5  # sqrt((9 + 16) / 2) = 3.536
    assert found["clip_factor"] == 16  # 24 / 3.5 = 6.9, twice that is 13.7


def test_the_common_size_is_that_of_most_values_and_others_stand_by_themselves() -> None:
    found = table(
        measured(
            {
                "weight": (100, 0.1, 0.2, 0.2),
                "near": (9, 0.4, 0.5, 0.5),
                "far": (9, 0.41, 0.5, 0.5),
                "small": (9, 0.02, 0.02, 0.02),
                "constant": (9, 0.0, 0.0, 0.0),
            }
        )
    )
    assert found["update_rms"] == 0.1
    assert found["update_rms_of"] == {"far": 0.41, "small": 0.02}


def test_nothing_that_was_seen_is_clipped_and_twice_that_neither() -> None:
    early, late = {"weight": (8, 2.0, 20.0, 4.0)}, {"weight": (8, 0.5, 1.0, 1.0)}
    text = secure_table(study(), [measured(early, late, late, late)])
    assert tomllib.loads(text)["aggregation"]["secure"]["clip_factor"] == 128  # 2 * 20 / 0.5 = 80
    assert "40 times" in text
    assert "99.9% of the values of every tensor: 8 times" in text


def test_weights_are_those_of_the_sites() -> None:
    one = {"weight": (8, 1.0, 1.0, 1.0)}
    few = table(measured(one))
    assert (few["weight_cap"], few["mean_weight"]) == (30, 0.66)  # 20 / 30 rounded down
    many = table(measured(one, patients={"north": 1199, "coast": 1001, "valley": 800}))
    assert (many["weight_cap"], many["mean_weight"]) == (2000, 0.5)
    tiny = table(measured(one, patients={"north": 7, "coast": 6, "valley": 6}))
    assert (tiny["weight_cap"], tiny["mean_weight"]) == (10, 0.63)
    equal = table(measured(one), aggregation={"weights": "equal"})
    assert not {"weight_cap", "mean_weight"} & equal.keys()


def test_the_table_makes_a_private_study_with_the_ring_it_names() -> None:
    for largest, bits in ((10.0, 16), (10_000.0, 32)):
        text = secure_table(study(), [measured({"weight": (8, 1.0, largest, largest)})])
        private = study(aggregation={"mode": "private", **tomllib.loads(text)["aggregation"]})
        assert private.ring_bits == bits
        assert f"With 3 sites the ring has {bits} bits" in text


def test_updates_that_are_all_zero_have_no_size() -> None:
    with pytest.raises(WardroundError, match="all 0") as refused:
        table(measured({"weight": (8, 1.0, 1.0, 1.0)}, {"weight": (8, 0.0, 0.0, 0.0)}))
    assert refused.value.code == "WR-1002"


def test_only_an_open_federation_that_could_be_private_is_measured() -> None:
    check_measurable(chest_scenario())
    private = {"mode": "private", "secure": {"update_rms": 0.01}}
    two = [site for site in chest_fields()["simulation"]["sites"] if site["name"] != "north"]
    for sections, named in (
        ({"aggregation": private}, "mode private"),
        ({"simulation": {"arms": ["local"]}}, "leaves it out"),
        ({"sites": ["coast", "valley"], "simulation": {"sites": two}}, "3 sites"),
    ):
        with pytest.raises(WardroundError, match=named) as refused:
            new_request(chest_scenario(**sections), measure_updates=True)
        assert refused.value.code == "WR-1010"


def test_a_run_that_did_not_measure_makes_no_bounds(tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match="without --write-bounds") as refused:
        write_bounds(new_request(chest_scenario()), tmp_path, tmp_path / "bounds.toml")
    assert refused.value.code == "WR-1502"


def test_a_round_is_measured_as_its_definition_says() -> None:
    generator = np.random.default_rng(7)
    layout = Layout.of({"weight": np.zeros((40, 100), np.float32), "bias": np.zeros(3, np.float32)})
    updates = {name: generator.normal(size=layout.size).astype(np.float32) for name in ("north", "coast")}
    weights = {"north": 3, "coast": 1}
    total = RoundTotal(5, layout)
    for name, update in updates.items():
        reply = Trained(
            site=SiteId(name), round=5, patients=weights[name], samples=1, loss=0.0, train_seconds=0.0, seconds=0.0
        )
        total.add(reply, update, weights[name])
    found = total.sizes()
    mean = (3 * updates["north"].astype(float) + updates["coast"].astype(float)) / 4
    for name, part in (("weight", slice(0, 4000)), ("bias", slice(4000, 4003))):
        sizes = found.tensors[name]
        assert sizes.rms == pytest.approx(float(np.sqrt(np.mean(mean[part] ** 2))), rel=1e-6)
        assert sizes.largest == max(float(np.abs(update[part]).max()) for update in updates.values())
        within = [np.mean(np.abs(update[part]) <= sizes.most) for update in updates.values()]
        assert min(within) >= 0.999 or sizes.values < 1000
        assert sizes.most <= sizes.largest
    assert (found.round, found.patients) == (5, weights)
