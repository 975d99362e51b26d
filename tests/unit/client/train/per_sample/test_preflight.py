"""The preflight lets models through whose units are apart, and finds what mixes them or keeps a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

from wardround.client.train.per_sample import SimpleLayer, Step, preflight, register_layer
from wardround.client.train.per_sample.layers import LAYERS
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TARGET = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


def loss(outputs: torch.Tensor, rows: slice) -> torch.Tensor:
    return (outputs - TARGET[rows]).square().mean()


class Model(nn.Module):
    """A convolution and a linear layer, and something between them."""

    def __init__(self, trick: str = "") -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)
        self.dropout = nn.Dropout(0.5)
        self.trick = trick
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.dropout(self.first(images).relu_().mean((2, 3)))
        if self.trick == "mean":
            features = features - features.mean(0)
        if self.trick == "shuffle":
            features = features.flip(0)
        if self.trick == "state":
            self.seen += features.mean().detach().float()
        if self.trick == "random":
            features = dropout(features, 0.5, training=True)
        outputs: torch.Tensor = self.last(features)
        return outputs


def test_a_model_that_keeps_units_apart_passes_and_is_left_alone() -> None:
    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    preflight(model, BATCH, loss, units=6)
    preflight(model, BATCH, loss, units=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert model.dropout.p == 0.5


@pytest.mark.parametrize("trick", ["mean", "shuffle", "random"])
def test_what_mixes_units_or_draws_anew_is_refused_by_the_first_parameter(trick: str) -> None:
    with pytest.raises(WardroundError, match=r"first\.weight") as refused:
        preflight(Model(trick), BATCH, loss, units=6)
    assert refused.value.code == "WR-1803"


def test_a_state_that_changes_is_refused_by_name() -> None:
    with pytest.raises(WardroundError, match="state seen") as refused:
        preflight(Model("state"), BATCH, loss, units=6)
    assert refused.value.code == "WR-1803"


def test_layers_without_a_rule_are_refused_as_ever() -> None:
    model = nn.Sequential(Model(), nn.BatchNorm1d(3))
    with pytest.raises(WardroundError, match="BatchNorm1d") as refused:
        preflight(model, BATCH, loss, units=6)
    assert refused.value.code == "WR-1804"


@pytest.mark.parametrize(("units", "images"), [(1, 6), (4, 6), (2, 5)])
def test_the_example_has_two_units_or_more_of_one_size(units: int, images: int) -> None:
    with pytest.raises(ValueError, match="two or more"):
        preflight(Model(), BATCH[:images], loss, units=units)


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(1, 2, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.gain


class WrongGain(SimpleLayer):
    """Forgets the input; or gives every unit the gradient of all."""

    parameters = ("gain",)

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake

    def forward(
        self, module: nn.Module, inputs: torch.Tensor, parameters: Sequence[torch.Tensor | None], *options: object
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        del module, options
        (gain,) = parameters
        assert gain is not None
        return inputs * gain, (inputs, gain)

    def backward(self, step: Step) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        inputs, gain = step.kept
        found = step.gradient if self.mistake == "input" else step.gradient * inputs
        by_unit = found.reshape(step.units, -1, len(gain)).sum(1)
        if self.mistake == "batch":
            by_unit = by_unit.mean(0).expand_as(by_unit)
        return step.gradient * gain, {"gain": by_unit}


@pytest.mark.parametrize("mistake", ["none", "input", "batch"])
def test_a_rule_of_somebody_else_with_a_mistake_is_found(mistake: str) -> None:
    register_layer(Gain, WrongGain(mistake))
    try:
        model = nn.Sequential(Model(), Gain())
        if mistake == "none":
            preflight(model, BATCH, loss, units=3)
        else:
            with pytest.raises(WardroundError, match=r"1\.gain"):
                preflight(model, BATCH, loss, units=3)
    finally:
        del LAYERS[Gain]
