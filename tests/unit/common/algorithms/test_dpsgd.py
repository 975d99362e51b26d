"""Joint DP-SGD's steps are those of PyTorch's optimizers on the mean gradient; an oracle that shares no code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from wardround.common.algorithms import dpsgd
from wardround.common.study import Training

if TYPE_CHECKING:
    from wardround.common.vector import Vector

STEPS = 7
EXPECTED = 12.5


def training(**fields: Any) -> Training:
    return Training.model_validate({"rounds": STEPS, "epochs": 1, "loss": "bce", "learning_rate": 0.05, **fields})


def optimizer(chosen: Training, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"lr": chosen.learning_rate, "weight_decay": chosen.weight_decay}
    if chosen.optimizer == "sgd":
        return torch.optim.SGD([parameter], momentum=chosen.momentum, **settings)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[chosen.optimizer]([parameter], **settings)


def stepped(
    model: Vector,
    total: Vector,
    state: dpsgd.OptimizerState,
    chosen: Training,
    *,
    denominator: float = EXPECTED,
    progress: float = 0.0,
) -> dpsgd.OptimizerState:
    return dpsgd.server_step(model, total, state, denominator=denominator, training=chosen, progress=progress)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_steps_are_those_of_the_optimizer(name: str, decay: float) -> None:
    chosen = training(optimizer=name, weight_decay=decay)
    generator = np.random.default_rng(3)
    model = generator.normal(size=40).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(model.copy()))
    peer, state = optimizer(chosen, parameter), dpsgd.initial_state(chosen, 40)
    for number in range(STEPS):
        total = (EXPECTED * generator.normal(size=40)).astype(np.float32)
        parameter.grad = torch.from_numpy(total / np.float32(EXPECTED))
        peer.step()
        state = stepped(model, total, state, chosen, progress=number / STEPS)
        np.testing.assert_allclose(model, parameter.detach().numpy(), rtol=2e-5, atol=2e-6)
    assert state.steps == STEPS


def test_the_schedule_is_the_study_s() -> None:
    plain, cosine = training(optimizer="sgd", momentum=0), training(optimizer="sgd", momentum=0, schedule="cosine")
    for chosen, expected in ((plain, -0.05), (cosine, -0.025)):
        model = np.zeros(1, dtype=np.float32)
        stepped(model, np.ones(1, np.float32), dpsgd.initial_state(chosen, 1), chosen, denominator=1.0, progress=0.5)
        assert model[0] == pytest.approx(expected)


def test_no_denominator_no_step() -> None:
    chosen = training()
    model, total = np.zeros(1, np.float32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="expected number"):
        stepped(model, total, dpsgd.initial_state(chosen, 1), chosen, denominator=0.0)
