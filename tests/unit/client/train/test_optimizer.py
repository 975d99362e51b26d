"""The optimizer's state goes out and in without a trace; the schedule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from wardround.client.train.optimizer import export_state, import_state, make_optimizer
from wardround.common.errors import WardroundError
from wardround.common.study import Training


def training(**fields: Any) -> Training:
    return Training.model_validate({"rounds": 4, "epochs": 1, "loss": "bce", "learning_rate": 0.1, **fields})


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))


def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
    for number in range(times):
        optimizer.zero_grad()
        net(torch.full((2, 3), 1.0 + number)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_continuing_from_exported_state_equals_never_stopping(name: str) -> None:
    plan = training(optimizer=name, weight_decay=0.01, learning_rate=0.01)
    whole, pieces = model(), model()
    optimizer = make_optimizer(plan, whole.parameters(), 0.01)
    step(whole, optimizer, 3)
    first = make_optimizer(plan, pieces.parameters(), 0.01)
    step(pieces, first, 3)
    second = make_optimizer(plan, pieces.parameters(), 0.01)
    import_state(second, export_state(first))
    step(whole, optimizer, 2)
    step(pieces, second, 2)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.equal(one, other)


def test_keys_and_shapes() -> None:
    net = model()
    optimizer = make_optimizer(training(), net.parameters(), 0.1)
    assert export_state(optimizer) == {}
    step(net, optimizer, 2)
    arrays = export_state(optimizer)
    assert sorted(arrays)[:3] == ["0000.exp_avg", "0000.exp_avg_sq", "0000.step"]
    assert arrays["0002.exp_avg_sq"].shape == (1, 4)
    assert float(arrays["0003.step"]) == 2.0
    assert all(array.dtype == np.float32 for array in arrays.values())


@pytest.mark.parametrize("damage", ["other model", "other optimizer", "missing", "shape"])
def test_state_of_something_else_is_refused(damage: str) -> None:
    net = model()
    optimizer = make_optimizer(training(), net.parameters(), 0.1)
    step(net, optimizer, 1)
    arrays = export_state(optimizer)
    import_state(make_optimizer(training(), model().parameters(), 0.1), arrays)
    if damage == "other model":
        arrays["0004.exp_avg"] = np.zeros(1, np.float32)
    elif damage == "other optimizer":
        arrays = {f"{place:04d}.momentum_buffer": np.zeros(1, np.float32) for place in range(4)}
    elif damage == "missing":
        del arrays["0001.step"]
    else:
        arrays["0000.exp_avg"] = np.zeros((4, 4), np.float32)
    with pytest.raises(WardroundError) as refused:
        import_state(make_optimizer(training(), model().parameters(), 0.1), arrays)
    assert refused.value.code == "WR-1206"
