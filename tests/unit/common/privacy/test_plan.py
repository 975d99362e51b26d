"""What a promise means for a model: whose noise is certain, and that data and noise fit into the ring."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from wardround.common.errors import WardroundError
from wardround.common.privacy.plan import certain_sites, noise_plan, reserve, ring_limit
from wardround.common.secagg.ring import Ring
from wardround.common.study import Study, build_study

VALUES = 250_000


def study(sites: int = 3, promise: dict[str, Any] | None = None, **aggregation: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "chest",
            "title": "Chest radiographs",
            "sites": [f"site{number}" for number in range(sites)],
            "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 20, "epochs": 2, "loss": "bce"},
            "aggregation": {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}} | aggregation,
            "selection": {"rule": "last"},
            "privacy": {"trust": "distributed", "epsilon": 8, "patients": 1200, "rate": 0.5} | (promise or {}),
        }
    )


@pytest.mark.parametrize(
    ("sites", "colluding", "smallest", "certain"),
    [(3, 0, 3, 2), (3, 1, 3, 2), (4, 1, 3, 2), (5, 1, 4, 3), (10, 3, 7, 4), (10, 8, 10, 2), (50, 16, 34, 18)],
)
def test_noise_counts_only_where_it_is_certain(sites: int, colluding: int, smallest: int, certain: int) -> None:
    """Worked out by hand from THREATS: survivors >= max(t, 3, k + 2), honest noise of survivors - max(k, 1)."""
    found = study(sites, secure={"colluding": colluding})
    assert found.aggregation.min_sites == smallest
    assert certain_sites(found) == certain


def test_shares_of_the_certain_sites_make_up_one_site_s_noise() -> None:
    alone, shared = noise_plan(study(10, {"trust": "local"}), VALUES), noise_plan(study(10), VALUES)
    assert alone.certain == 1
    real = [plan.deviation * plan.lattice.step for plan in (alone, shared)]  # in units of the gradient
    assert shared.certain > 1
    assert real[1] ** 2 * shared.certain == pytest.approx(real[0] ** 2)
    assert real[0] == pytest.approx(alone.mechanism.multiplier * alone.lattice.sensitivity)
    assert alone.steps == 20
    assert alone.denominator == pytest.approx(0.5 * 1200 / 10)


def test_nothing_of_the_plan_depends_on_data() -> None:
    """The plan is a function of the study and of the model's size alone; every site computes the same."""
    assert noise_plan(study(), VALUES) == noise_plan(Study.model_validate_json(study().canonical()), VALUES)


@pytest.mark.parametrize("sites", [3, 10, 50])
def test_data_and_noise_stay_inside_the_ring(sites: int) -> None:
    plan, ring = noise_plan(study(sites), VALUES), Ring(32)
    limit, room = ring_limit(plan, ring, sites), reserve(plan, sites)
    assert sites * limit + room < 2**31
    assert limit * plan.lattice.step > 20 * plan.lattice.clip, "room for many patients that agree"
    # P values, each beyond z standard deviations with probability erfc(z / sqrt 2): 2^-40 at most over all of them.
    z = (room - sites / 2) / (math.sqrt(sites) * plan.deviation)
    assert VALUES * math.erfc(z / math.sqrt(2)) < 2.0**-40


def test_no_noise_needs_no_room() -> None:
    plan = noise_plan(study(promise={"epsilon": "infinite"}), VALUES)
    assert plan.deviation == 0
    assert reserve(plan, 3) == 0
    assert ring_limit(plan, Ring(32), 3) == (2**31 - 1) // 3


def test_a_lattice_that_is_too_fine_for_the_ring_is_refused() -> None:
    plan = noise_plan(study(promise={"epsilon": "infinite"}), 10**11)
    assert ring_limit(plan, Ring(32), 3) * plan.lattice.step > plan.lattice.clip  # the positive control
    plan = noise_plan(study(promise={"epsilon": "infinite"}), 10**12)
    with pytest.raises(WardroundError) as refused:
        ring_limit(plan, Ring(32), 3)
    assert refused.value.code == "WR-1805"
    assert "Choose a model of fewer than 1000000000000 values." in refused.value.what


def test_noise_that_is_too_little_for_the_ring_is_refused_with_what_helps() -> None:
    plan = noise_plan(study(), VALUES)
    fine = replace(plan, lattice=replace(plan.lattice, multiplier=1e-9))
    ring_limit(plan, Ring(32), 3)  # the positive control
    with pytest.raises(WardroundError, match=r"WR-1805.* lower privacy\.epsilon"):
        ring_limit(fine, Ring(32), 3)


def test_noise_fits_into_the_ring_whatever_the_epsilon_and_the_size_of_the_model() -> None:
    for epsilon, values in itertools.product((0.02, 1, 40), (1, 10**6, 10**12)):
        plan, ring = noise_plan(study(128, {"epsilon": epsilon}), values), Ring(32)
        assert ring_limit(plan, ring, 128) * plan.lattice.step > 100 * plan.lattice.clip
