"""Rounds of studies with a promise against steps worked out patient by patient, and noise against its deviation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.promised_runs import Promised, promised_scenario

from wardround.common.privacy.plan import noise_plan
from wardround.common.study import build_study

if TYPE_CHECKING:
    from pathlib import Path

LEARNING_RATE = 0.5


@pytest.mark.parametrize("trust", ["local", "distributed"])
@pytest.mark.parametrize("clip", [0.05, 5.0])
def test_without_noise_the_model_is_the_one_worked_out_patient_by_patient(
    trust: str, clip: float, tmp_path: Path
) -> None:
    """Two rounds of one step over everybody: both trust models take the same steps."""
    promised = Promised.of(promised_scenario(trust=trust, clip=clip), tmp_path)
    history = promised.coordinate()
    expected = promised.initial.astype(np.float64)
    for _ in range(2):
        expected -= LEARNING_RATE * promised.clipped_sum(promised.study.site_ids, expected) / 40
    lattice = noise_plan(promised.study, promised.layout.size).lattice
    rounding = 4 * LEARNING_RATE * 3 * lattice.step / 40  # of two steps, and what the second makes of the first
    apart = np.abs(promised.model() - expected)
    # The second step starts from a rounded model: where a unit was within rounding of a kink of its activation or of a
    # tie in its pooling, one patient's gradient differs in the weights before it.
    assert np.quantile(apart, 0.9) <= rounding + 2e-6
    assert apart.max() <= 10 * rounding + 2e-5
    assert np.abs(promised.model() - promised.initial).max() > 20 * rounding, "the positive control: it moved"
    assert [record["sites"] for record in history["rounds"]] == [["site0", "site1", "site2"]] * 2


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_convolutions_with_standardised_weights_take_the_step_worked_out_patient_by_patient(
    trust: str, tmp_path: Path
) -> None:
    scenario = promised_scenario(rounds=1, trust=trust)
    fields = scenario.study.model_dump(by_alias=True)
    fields["model"]["parameters"] |= {"standardised": True}
    promised = Promised.of(replace(scenario, study=build_study(fields)), tmp_path)
    promised.coordinate()
    step = LEARNING_RATE * promised.clipped_sum(promised.study.site_ids, promised.initial) / 40
    np.testing.assert_allclose(promised.model(), promised.initial - step, rtol=0, atol=1e-5)
    assert np.abs(promised.model() - promised.initial).max() > 1e-3, "the positive control: it moved"


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_the_noise_in_the_model_is_what_the_plan_says(trust: str, tmp_path: Path) -> None:
    """One step with noise, minus the step worked out by hand, over all values of the model."""
    promised = Promised.of(promised_scenario(rounds=1, trust=trust, epsilon=2.0), tmp_path)
    promised.coordinate()
    step = LEARNING_RATE * promised.clipped_sum(promised.study.site_ids, promised.initial) / 40
    residual = promised.model() - (promised.initial - step)
    plan = noise_plan(promised.study, promised.layout.size)
    shares = 3 / 2 if trust == "distributed" else 3  # of three sites' noise two are certain; alone each adds all
    assert plan.certain == (2 if trust == "distributed" else 1)
    expected = LEARNING_RATE * plan.mechanism.multiplier * plan.lattice.sensitivity * np.sqrt(shares) / 40
    # 7 standard deviations of a standard deviation over this many values: 1e-12.
    assert np.std(residual) == pytest.approx(expected, rel=7 / np.sqrt(2 * promised.layout.size))
    assert abs(np.mean(residual)) < 7 * expected / np.sqrt(promised.layout.size)


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_nothing_but_the_update_leaves(trust: str, tmp_path: Path) -> None:
    promised = Promised.of(promised_scenario(trust=trust, epsilon=2.0), tmp_path)
    history = promised.coordinate()
    for record in history["rounds"]:
        assert (record["samples"], record["train_loss"], record["train_seconds"]) == (None, None, None)
    assert history["validations"] == []


@pytest.mark.parametrize(("trust", "mode"), [("local", "open"), ("local", "private"), ("distributed", "private")])
def test_paid_validations_are_the_capped_means_with_their_noise(trust: str, mode: str, tmp_path: Path) -> None:
    paid = {"epsilon": 900.0, "times": 2, "loss_cap": 0.7}
    promised = Promised.of(promised_scenario(rounds=4, trust=trust, mode=mode, validation=paid), tmp_path)
    history = promised.coordinate()
    assert [found["round"] for found in history["validations"]] == [1, 3], "models that rounds 2 and 4 begin with"
    lattice = noise_plan(promised.study, promised.layout.size).validation
    assert lattice is not None
    noise = lattice.deviation * lattice.step * np.sqrt(3) / 20
    expected = promised.initial - LEARNING_RATE * promised.clipped_sum(promised.study.site_ids, promised.initial) / 40
    losses = [loss for site in promised.study.site_ids for loss in promised.validation_losses(site, expected)]
    assert min(losses) < 0.7 < max(losses), "the positive control: some losses are capped, some are not"
    mean = np.minimum(losses, 0.7).sum() / 20  # 40 patients train, at shares of 0.4 and 0.2
    found = history["validations"][0]["mean"]
    assert found["sites"] == 3
    assert found["loss"] == pytest.approx(mean, abs=7 * noise + 1e-3)
    assert noise < 0.02


def test_a_validation_s_noise_is_what_its_budget_asks_for(tmp_path: Path) -> None:
    """Models barely move here, so that 40 validations differ by their noise alone."""
    paid = {"epsilon": 40.0, "times": 40, "loss_cap": 0.7}
    scenario = promised_scenario(rounds=40, trust="distributed", validation=paid, clip=1e-6)
    promised = Promised.of(scenario, tmp_path)
    losses = [found["mean"]["loss"] for found in promised.coordinate()["validations"]]
    lattice = noise_plan(promised.study, promised.layout.size).validation
    assert lattice is not None
    expected = lattice.deviation * lattice.step * np.sqrt(3) / 20
    assert len(losses) == 40
    # The deviation of 40 Gaussians lies in this range but for a probability below 1e-6 (chi-square, 39 degrees).
    assert 0.5 * expected < np.std(losses, ddof=1) < 1.65 * expected
