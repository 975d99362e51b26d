"""A unit's gradient must not depend on its place in the batch: who else is drawn decides that place."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fakes.run_folder import classification_study
from torch import nn

from wardround.client.train import preflight
from wardround.client.train.device import choose_device
from wardround.client.train.losses import make_loss
from wardround.client.train.per_sample import PerSample
from wardround.client.train.per_sample.layers import LAYERS, SimpleLayer
from wardround.client.train.per_sample.places import alike_in_all_places, loss_of_units
from wardround.client.train.preflight import units_without_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BCE = make_loss("bce", None)


class Edged(nn.Module):
    """Scales; the first unit of a batch is a last bit larger, as at the edge of a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.weight


class EdgedLayer(SimpleLayer):
    parameters = ("weight",)

    def forward(self, module: nn.Module, inputs: torch.Tensor, parameters: Sequence[Any], *options: Any) -> Any:
        del module, options
        return inputs * parameters[0], (inputs,)

    def backward(self, step: Any) -> Any:
        found = (step.gradient * step.kept[0]).view(step.units, -1, 4).sum(1)
        found[0] = torch.nextafter(found[0], found[0] + 1)
        return None, {"weight": found}


@pytest.fixture
def edged() -> Iterator[nn.Module]:
    LAYERS[Edged] = EdgedLayer()
    yield Edged()
    del LAYERS[Edged]


def test_one_last_bit_in_one_place_is_seen(edged: nn.Module) -> None:
    images, targets = torch.zeros(2, 4), torch.zeros(2, 4)
    assert not alike_in_all_places(edged, images, targets, BCE, 3)
    assert alike_in_all_places(edged, images, targets, BCE, 1), "alone there is one place"
    assert alike_in_all_places(nn.Linear(4, 4), images, targets, BCE, 3), "the positive control"
    assert float(edged.weight.detach().sum()) == 4, "the model is left alone"


@pytest.mark.parametrize(("width", "draws"), [(4, 64), (4000, 25), (200_000, 3)])
def test_a_difference_that_seldom_shows_is_looked_for_the_longer_the_fewer_values_there_are(
    width: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, targets, model = torch.zeros(1, width - 1), torch.zeros(1, 1), nn.Linear(width - 1, 1)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim == 1)  # frozen weights count as well
    for shown_at, missed in ((draws + 1, True), (draws, False)):
        asked = count(1)
        monkeypatch.setattr(PerSample, "alike", lambda _, asked=asked, shown_at=shown_at: next(asked) != shown_at)
        assert alike_in_all_places(model, images, targets, BCE, 2) is missed


def test_patients_share_a_batch_only_where_places_do_not_matter(
    edged: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, device = classification_study(), choose_device("cpu")
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), edged)
    fine = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, study.task.outputs))
    width = study.task.outputs
    for model, allowed in ((nn.Sequential(flat, nn.Linear(4, width)), 1), (fine, 5)):
        monkeypatch.setattr(preflight, "_alike", {})
        assert units_without_places(model, study, device, 5, 2) == allowed


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
@pytest.mark.parametrize("units", [2, 3, 5, 7, 10, 14, 15, 31])
def test_few_outputs_are_alike_in_all_places_also_where_large_numbers_cancel(outputs: int, units: int) -> None:
    """Products of matrices for the whole batch add up in another order at its edge; that was a way to exceed C."""
    generator = torch.Generator().manual_seed(outputs)
    for width in (6, 33, 64, 1152):
        layer = nn.Linear(width, outputs)
        with torch.no_grad():
            layer.weight.mul_(1e10)
        unit = torch.randn(1, width, generator=generator).requires_grad_()
        batch = unit.repeat(units, 1)
        recorder = PerSample(layer)
        with recorder.recording(units):
            outputs_ = layer(batch)
            assert bool((outputs_ == outputs_[0]).all())
            torch.autograd.backward(loss_of_units(BCE, outputs_ * 1e-10, torch.zeros(units, outputs), units))
        assert recorder.alike()


def test_the_loss_of_units_is_the_sum_of_their_means() -> None:
    outputs, targets = torch.randn(6, 3, 5, 5), torch.randint(3, (6, 5, 5))
    for name in ("dice_ce", "cross_entropy"):
        loss = make_loss(name, None)
        assert float(loss_of_units(loss, outputs, targets, 3)) == pytest.approx(3 * float(loss(outputs, targets)), 1e-5)
