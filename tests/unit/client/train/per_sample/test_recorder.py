"""The recorder leaves the model alone, whatever happens, and counts what it must."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fakes.per_sample_oracle import error, norm, one_by_one, record, squared_loss
from torch import nn

from wardround.client.train.per_sample import Layer, PerSample, SimpleLayer, Step, register_layer
from wardround.client.train.per_sample.layers import LAYERS
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCH = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def forwards(model: nn.Module) -> list[object]:
    return [vars(module).get("forward") for module in model.modules()]


def test_nothing_of_the_model_has_changed_afterwards() -> None:
    model = two_layers()
    model[0].weight.grad = known = torch.ones_like(model[0].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recorder = PerSample(model)
    with recorder.recording(6):
        assert any(forwards(model))
        model(BATCH).sum().backward()
    recorder.weighted_sum(torch.ones(6))
    assert not any(forwards(model))
    assert model[0].weight.grad is known
    assert torch.equal(known, torch.ones_like(known))
    assert model[2].weight.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(BATCH).sum().backward()  # and it is differentiated as ever
    assert model[2].weight.grad is not None


def test_a_block_that_raises_leaves_no_gradients_and_the_model_as_it_was() -> None:
    model = two_layers()
    recorder = PerSample(model)

    def fail() -> None:
        with recorder.recording(6):
            model(BATCH).sum().backward()
            assert recorder._found
            raise KeyError("out of patience")

    with pytest.raises(KeyError):
        fail()
    assert not recorder._found
    assert not any(forwards(model))
    assert float(recorder.norms().sum()) == 0
    record(recorder, model, BATCH, squared_loss(model(BATCH).detach()), 6)  # and the next recording works
    assert float(recorder.norms().min()) > 0


def test_a_model_is_recorded_once_at_a_time() -> None:
    model = two_layers()
    first, second = PerSample(model), PerSample(model)
    with first.recording(6):
        with pytest.raises(RuntimeError, match="already"), second.recording(6):
            pass
        model(BATCH).sum().backward()
    assert first._found
    assert not any(forwards(model))
    with second.recording(6):
        pass


def test_frozen_parameters_are_left_out_and_unused_ones_count_as_zero() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.frozen, self.unused = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.frozen.weight.requires_grad_(requires_grad=False)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.used(self.frozen(inputs).tanh())
            return found

    model = Part().double()
    assert error(model, BATCH, 3) <= 1e-12
    recorder = PerSample(model)
    record(recorder, model, BATCH, squared_loss(model(BATCH).detach()), 3)
    sums = recorder.weighted_sum(torch.ones(3))
    assert sorted(sums) == ["frozen.bias", "unused.bias", "unused.weight", "used.bias", "used.weight"]
    assert not sums["unused.weight"].any()


def test_what_is_trained_stays_as_it_was_when_the_recorder_was_made() -> None:
    model = two_layers()
    model[0].bias.requires_grad_(requires_grad=False)
    recorder = PerSample(model)
    with recorder.recording(6):
        pass
    model[0].bias.requires_grad_(requires_grad=True)
    with pytest.raises(RuntimeError, match="frozen"), recorder.recording(6):
        pass


def test_before_a_recording_and_without_parameters_there_is_nothing() -> None:
    for model in (two_layers(), nn.ReLU()):
        recorder = PerSample(model)
        assert recorder.norms().tolist() == []
        assert not any(found.any() for found in recorder.weighted_sum(torch.ones(0)).values())


def test_a_frozen_model_has_gradients_of_norm_0() -> None:
    model = two_layers().requires_grad_(requires_grad=False)
    recorder = PerSample(model)
    with recorder.recording(6):
        model(BATCH)
    assert recorder.norms().tolist() == [0.0] * 6
    assert recorder.weighted_sum(torch.ones(6)) == {}


def test_new_sums_begin_with_nothing_and_known_ones_are_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large, self.unused = nn.Linear(3, 3), nn.Linear(3, 2000), nn.Linear(3, 2000)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.large(self.small(inputs))
            return found

    def dirty(*size: int, **options: Any) -> torch.Tensor:
        return torch.full(size, math.nan, **options)

    model = Part().double()
    recorder, loss = PerSample(model), squared_loss(model(BATCH).detach())
    monkeypatch.setattr("wardround.client.train.per_sample.recorder.torch.empty", dirty)
    for factors in (torch.ones(6), torch.tensor([1.0, 0, 0, 0, 0, 2.0]), torch.zeros(6)):
        expected = [
            sum(
                float(factor) * alone[name]
                for factor, alone in zip(factors, one_by_one(model, BATCH, loss, 6), strict=True)
            )
            for name, _ in model.named_parameters()
        ]
        record(recorder, model, BATCH, loss, 6)
        sums = recorder.weighted_sum(factors)
        torch.testing.assert_close(list(sums.values()), expected)
        record(recorder, model, BATCH, loss, 6)
        assert recorder.weighted_sum(factors, sums) is sums
        torch.testing.assert_close(list(sums.values()), [2 * value for value in expected])


@pytest.mark.parametrize("size", [3, 40])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_unit_that_is_not_finite_touches_no_other_and_is_left_out_with_factor_0(size: int, poison: float) -> None:
    model = nn.Sequential(nn.Conv1d(1, size, 3), nn.GroupNorm(1, size), nn.Flatten(), nn.Linear(4 * size, size))
    model = model.double()
    batch = torch.randn(4, 1, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss = squared_loss(model(batch).detach())
    alone = one_by_one(model, batch, loss, 4)
    batch[1] = poison
    recorder = PerSample(model)
    record(recorder, model, batch, loss, 4)
    norms = recorder.norms()
    assert torch.isfinite(norms).tolist() == [True, False, True, True]
    torch.testing.assert_close(norms[[0, 2, 3]], torch.tensor([norm(alone[u]) for u in (0, 2, 3)]).double())
    sums = recorder.weighted_sum(torch.tensor([1.0, 0.0, 0.5, 2.0], dtype=torch.float64))
    for name, found in sums.items():
        plain = alone[0][name] + 0.5 * alone[2][name] + 2 * alone[3][name]
        torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-12)


def test_factors_that_are_all_0_sum_to_0() -> None:
    model = two_layers()
    recorder = PerSample(model)
    record(recorder, model, BATCH * math.nan, squared_loss(model(BATCH).detach()), 6)
    assert not any(found.any() for found in recorder.weighted_sum(torch.zeros(6)).values())


def test_factors_must_be_as_many_as_units_and_finite_and_are_asked_for_once() -> None:
    model = two_layers()
    recorder = PerSample(model)
    record(recorder, model, BATCH, squared_loss(model(BATCH).detach()), 3)
    for wrong in (torch.ones(6), torch.ones(3, 1), torch.tensor([1.0, math.nan, 1.0])):
        with pytest.raises(ValueError, match="3 finite factors"):
            recorder.weighted_sum(wrong)
    recorder.weighted_sum(torch.ones(3))
    with pytest.raises(ValueError, match="0 finite factors"):
        recorder.weighted_sum(torch.ones(3))


def test_no_units_are_a_bug() -> None:
    with pytest.raises(ValueError, match="at least one"), PerSample(two_layers()).recording(0):
        pass


@pytest.mark.parametrize("outside", [False, True])
def test_a_weight_that_is_used_outside_its_layer_is_refused(*, outside: bool) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(inputs)
            return found @ self.layer.weight if outside else found

    model = Tied().double()
    recorder = PerSample(model)
    if outside:
        with pytest.raises(WardroundError, match=r"layer\.weight") as refused:
            record(recorder, model, BATCH, squared_loss(model(BATCH).detach()), 6)
        assert refused.value.code == "WR-1803"
        assert model.layer.weight.grad is None
        assert not recorder._found
    else:
        record(recorder, model, BATCH, squared_loss(model(BATCH).detach()), 6)


def test_what_is_found_holds_no_graph() -> None:
    model = nn.Sequential(nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 30)).double()
    recorder = PerSample(model)
    record(recorder, model, torch.randn(6, 30).double(), squared_loss(torch.zeros(6, 30)), 6)
    assert not recorder.norms().requires_grad
    assert not any(found.requires_grad for found in recorder.weighted_sum(torch.ones(6)).values())


class Gain(nn.Module):
    """A layer of somebody else: one factor for each feature."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(1, 2, features))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.gain


class GainLayer(SimpleLayer):
    parameters = ("gain",)

    def forward(
        self, module: nn.Module, inputs: torch.Tensor, parameters: Sequence[torch.Tensor | None], *options: object
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        del module, options
        (gain,) = parameters
        assert gain is not None
        return inputs * gain, (inputs, gain)

    def backward(self, step: Step) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        inputs, gain = step.kept
        by_unit = (step.gradient * inputs).reshape(step.units, -1, len(gain)).sum(1)
        return step.gradient * gain, {"gain": by_unit}


@pytest.fixture
def registered() -> Iterator[Layer]:
    layer = GainLayer()
    register_layer(Gain, layer)
    yield layer
    del LAYERS[Gain]


def test_a_layer_of_somebody_else_is_refused_until_it_is_registered(request: pytest.FixtureRequest) -> None:
    model = nn.Sequential(nn.Linear(3, 4), Gain(4), nn.Tanh()).double()
    with pytest.raises(WardroundError, match="1 of type Gain"):
        PerSample(model)
    request.getfixturevalue("registered")
    assert error(model, BATCH, 3) <= 1e-12
    assert error(model, BATCH, 6) <= 1e-12


def test_a_class_is_registered_once(registered: Layer) -> None:
    with pytest.raises(ValueError, match="Gain is registered"):
        register_layer(Gain, registered)
