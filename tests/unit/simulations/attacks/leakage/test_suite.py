"""What passes and what does not; images; results in a run folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.seeded_bugs import promising

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.leakage.bounds import Errors
from wardround.simulations.attacks.leakage.finding import Finding, within
from wardround.simulations.attacks.leakage.images import (
    Population,
    correlations,
    drawn_images,
    pick,
    standardised,
)
from wardround.simulations.attacks.leakage.imprint import UNITS, Imprint
from wardround.simulations.attacks.leakage.results import FILE, LeakageCase, LeakageReport, read_leakage
from wardround.simulations.attacks.leakage.show import show_leakage
from wardround.simulations.attacks.leakage.toys import PIXELS, promise_of, toy_study, without_noise

if TYPE_CHECKING:
    from pathlib import Path

CASE = LeakageCase(
    case="canaries",
    n=10,
    refused=True,
    reason="little",
    epsilon=1.0,
    any_epsilon=0.5,
    control_succeeds=True,
    control="much",
    transcript="canaries.json",
)
REPORT = LeakageReport(
    study="toy",
    trust="local",
    claimed_epsilon=3.0,
    delta=1e-5,
    empirical_epsilon=1.0,
    any_epsilon=0.5,
    judged_by=3.0,
    cases=(CASE,),
    folder="f",
    passed=True,
)


def test_a_case_holds_if_it_is_refused_and_its_control_succeeds() -> None:
    assert CASE.holds
    assert not CASE.model_copy(update={"refused": False}).holds
    assert not CASE.model_copy(update={"control_succeeds": False}).holds


def test_a_finding_is_within_if_neither_bound_excludes_it() -> None:
    promise = promise_of(promising())
    little = Finding(10, Errors(0.2, 0.3), 0.0, "", {})
    assert within(little, promise)
    assert not within(replace(little, errors=Errors(0.9, 0.1)), promise)
    assert not within(replace(little, any_epsilon=3.01), promise)


def test_a_toy_makes_the_promise_of_the_study() -> None:
    study = promising(epsilon=5.0, rate=0.5, clip=3.0, images_per_patient=7)
    toy = toy_study(study)
    assert toy.promise == study.promise.model_copy(update={"images_per_patient": 1})
    assert toy.training.rounds == study.training.rounds
    bare = without_noise(toy)
    assert bare.promise.noise_multiplier == 0
    assert bare.promise.clip == 3.0
    assert promise_of(bare).epsilon == 8.0, "without a promise, attacks are judged by a reference"


def test_without_a_promise_there_is_nothing_to_attack() -> None:
    study = promising().model_copy(update={"privacy": None})
    with pytest.raises(WardroundError, match="WR-1809"):
        toy_study(study)


def test_the_victim_is_named_from_its_image_and_from_nothing_else() -> None:
    population = Population.of(drawn_images(300, 1))
    assert population.candidates == 300 - 12 - 15 + 1
    scaled = pick(population, lambda victim: 0.01 * population.victims[victim] + 7)
    assert (scaled.right, scaled.victims) == (12, 12)
    assert min(scaled.similarity) > 0.999
    other = pick(population, lambda victim: population.public[victim])
    assert other.right == 0
    assert pick(population, lambda _: np.zeros(PIXELS)).right == 0


def test_too_few_images_are_a_bug() -> None:
    with pytest.raises(ValueError, match="too few"):
        Population.of(drawn_images(30, 1))


def test_correlations_are_those_of_numpy_and_nothing_without_contrast() -> None:
    images = np.random.default_rng(0).normal(size=(3, 50))
    assert correlations(images[0], images) == pytest.approx(np.corrcoef(images)[0])
    assert correlations(np.ones(50), images).tolist() == [0, 0, 0]
    assert standardised(np.ones((1, 50))).tolist() == [[0] * 50]


def test_the_crafted_units_keep_two_images_apart() -> None:
    public = Population.of(drawn_images(300, 1)).public
    module = Imprint(public)
    first, second = (next(image for image in public if module.unit_of(image) == unit) for unit in (3, 40))
    rows = np.zeros((UNITS, PIXELS))
    for image in (first, second):
        rows[: module.unit_of(image) + 1] += image  # passes every threshold up to its own
    found = module.images(rows.ravel())
    for image in (first, second):
        assert found[module.unit_of(image)] == pytest.approx(image)


def test_a_run_folder_gives_back_what_attacks_found(tmp_path: Path) -> None:
    assert read_leakage(tmp_path) is None
    (tmp_path / FILE).write_text(REPORT.model_dump_json())
    assert read_leakage(tmp_path) == REPORT
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(WardroundError, match="WR-1502"):
        read_leakage(tmp_path)


def test_the_table_says_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    show_leakage(REPORT)
    assert "Passed" in capsys.readouterr().out
    show_leakage(REPORT.model_copy(update={"claimed_epsilon": None, "passed": False, "judged_by": 8.0}))
    shown = capsys.readouterr().out
    assert "FAILED" in shown
    assert "Claimed: nothing" in shown
