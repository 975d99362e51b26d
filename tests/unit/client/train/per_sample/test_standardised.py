"""Standardised convolutions: their gradients unit by unit, against one plain backward pass for each, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes.per_sample_oracle import error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wardround.client.train.per_sample.standardised import pulled_back
from wardround.common.models.standardised import (
    EPSILON,
    StandardisedConv2d,
    StandardisedConv3d,
    standardise,
    standardise_convolutions,
)

EXACT = 1e-12
KINDS: dict[int, Any] = {2: StandardisedConv2d, 3: StandardisedConv3d}


def images(count: int, *shape: int) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    axes=st.integers(2, 3),
    groups=st.integers(1, 2),
    channels=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    padding=st.one_of(st.integers(0, 2), st.sampled_from(["same", "valid"])),
    units=st.integers(1, 4),
    copies=st.integers(1, 3),
)
def test_gradients_are_those_of_each_unit_alone(  # noqa: PLR0917 - hypothesis hands them over by name
    axes: int,
    groups: int,
    channels: int,
    outputs: int,
    kernel: int,
    stride: int,
    padding: int | str,
    units: int,
    copies: int,
    **options: Any,
) -> None:
    kernel = max(kernel, 2) if channels < 3 else kernel  # of two values nearly nothing is left but rounding
    stride = 1 if padding == "same" else stride
    layer = KINDS[axes](
        groups * channels, groups * outputs, kernel, stride=stride, groups=groups, padding=padding, **options
    ).double()
    assert error(layer, images(units * copies, groups * channels, *(7, 6, 5)[:axes]), units) <= EXACT


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_gradients_are_exact_whatever_the_size_of_the_weights(size: float) -> None:
    """Of small ones the EPSILON is most of what is divided by."""
    layer = StandardisedConv2d(2, 3, 3).double()
    with torch.no_grad():
        layer.weight.mul_(size)
    assert error(layer, images(4, 2, 7, 6), 2) <= EXACT


def test_the_jacobian_is_that_of_automatic_differentiation() -> None:
    weight = images(3, 2, 3, 3).requires_grad_()
    used, length = standardise(weight)
    gradients = images(5, 3, 2, 3, 3)
    expected = [torch.autograd.grad(used, weight, one, retain_graph=True)[0] for one in gradients]
    found = pulled_back(gradients.clone(), used.detach(), length.detach())
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-14)


def test_weights_have_mean_zero_and_the_inverse_fan_in_as_variance() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(4, 5, 3).double()
    used, _ = standardise(layer.weight.detach() + 2)
    of_channel = used.flatten(1)
    squares = (
        (layer.weight.detach() - layer.weight.detach().mean((1, 2, 3, 4), keepdim=True)).square().flatten(1).sum(1)
    )
    torch.testing.assert_close(of_channel.mean(1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(of_channel.var(1, correction=0) * 4 * 27, squares / (squares + EPSILON))


def test_replacing_keeps_names_weights_and_settings() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, 2, 1, 1, 2), nn.Sequential(nn.Conv3d(1, 2, 2, bias=False)), nn.Linear(3, 3)
    )
    before = dict(model.named_parameters())
    standardise_convolutions(model)
    first, (second,), linear = model
    assert (type(first), type(second), type(linear)) == (StandardisedConv2d, StandardisedConv3d, nn.Linear)
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    inputs = torch.randn(2, 4, 9, 9)
    plain = torch.nn.functional.conv2d(inputs, standardise(first.weight)[0], first.bias, 2, 1, 1, 2)
    torch.testing.assert_close(first(inputs), plain)
    assert not torch.allclose(first(2 * inputs), nn.Conv2d.forward(first, 2 * inputs)), "the positive control"
    with pytest.raises(ValueError, match="single weight"):
        standardise_convolutions(nn.Sequential(nn.Conv2d(1, 2, 1)))
