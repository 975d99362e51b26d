"""Batch normalisation becomes group normalisation, activations stop working in place, and both are said."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import resnet18
from monai.networks.nets.unet import UNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wardround.common.models.conversions import groups_for, ready_for_privacy


def test_what_was_done_is_said_in_order() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.BatchNorm2d(12), nn.Dropout(0.1, inplace=True), nn.ReLU(inplace=True)),
        nn.BatchNorm1d(7),
    )
    assert ready_for_privacy(model) == (
        "BatchNorm2d -> GroupNorm with 6 groups (2 layers)",
        "BatchNorm1d -> GroupNorm with 7 groups (1 layer)",
        "ReLU: no longer in place (2 layers)",
        "Dropout: no longer in place (1 layer)",
    )
    assert [type(layer).__name__ for layer in model] == ["Conv2d", "GroupNorm", "ReLU", "Sequential", "GroupNorm"]
    assert not any(getattr(module, "inplace", False) for module in model.modules())
    assert ready_for_privacy(model) == ()


def test_a_model_that_needs_nothing_is_left_alone() -> None:
    model = UNet(2, 1, 2, (4, 8), (2,), norm=("instance", {"affine": True}))
    modules = list(model.modules())
    assert ready_for_privacy(model) == ()
    assert list(model.modules()) == modules


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 6), (7, 7), (11, 1), (12, 6), (64, 8), (100, 5)])
def test_the_number_of_groups_divides_the_channels_and_is_at_most_8(channels: int, groups: int) -> None:
    assert groups_for(channels) == groups


def test_weights_settings_and_mode_are_kept() -> None:
    layer = nn.BatchNorm2d(8, eps=1e-3).double().eval()
    nn.init.normal_(layer.weight)
    layer.bias.requires_grad_(requires_grad=False)
    model = nn.Sequential(layer)
    ready_for_privacy(model)
    converted = model[0]
    assert isinstance(converted, nn.GroupNorm)
    assert torch.equal(converted.weight, layer.weight)
    assert converted.weight.dtype == torch.float64
    assert (converted.weight.requires_grad, converted.bias.requires_grad) == (True, False)
    assert (converted.eps, converted.num_groups, converted.training) == (1e-3, 8, False)
    assert converted.weight.data_ptr() != layer.weight.data_ptr()


def test_without_weights_there_are_none_afterwards() -> None:
    model = nn.Sequential(nn.BatchNorm2d(8, affine=False))
    ready_for_privacy(model)
    assert list(model.parameters()) == []


def test_what_it_computes_is_group_normalisation() -> None:
    images = torch.randn(3, 8, 5, 5)
    model = nn.Sequential(nn.BatchNorm2d(8))
    alone = nn.BatchNorm2d(8)(images[:1])
    ready_for_privacy(model)
    torch.testing.assert_close(model(images)[:1], model(images[:1]))  # no image meets another
    torch.testing.assert_close(model(images)[:1], alone, rtol=1e-4, atol=1e-4)  # 8 groups of one channel


def test_one_layer_in_two_places_stays_one() -> None:
    layer = nn.BatchNorm2d(4)
    model = nn.ModuleDict({"a": layer, "b": layer, "c": nn.Sequential(layer)})
    assert ready_for_privacy(model) == ("BatchNorm2d -> GroupNorm with 4 groups (1 layer)",)
    assert model["a"] is model["b"]
    assert model["a"] is next(model["c"].children())


def test_every_layer_of_a_deep_model_is_found() -> None:
    model = resnet18(spatial_dims=3, n_input_channels=1, num_classes=2)
    assert any(isinstance(module, _BatchNorm) for module in model.modules())
    ready_for_privacy(model)
    assert not any(isinstance(module, _BatchNorm) for module in model.modules())
    assert all(value.is_floating_point() for value in model.state_dict().values())


def test_a_batch_normalisation_alone_or_without_channels_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no model"):
        ready_for_privacy(nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match="channels"):
        ready_for_privacy(nn.Sequential(nn.LazyBatchNorm2d()))
