"""Scattering features come from formulae alone, one image at a time, and only a linear layer is trained."""

from __future__ import annotations

import cmath
import math
from typing import Literal

import pytest
import torch

from wardround.common.models.scattering import (
    FREQUENCY,
    LENGTH,
    Scattering,
    ScatteringParameters,
    directions_of,
    morlet,
)
from wardround.common.models.state import state_arrays

Dimensions = Literal[2, 3]


def network(dimensions: Dimensions = 2, *, channels: int = 1, mirrored: bool = False) -> Scattering:
    parameters = ScatteringParameters(scales=3, directions=4, cells=4, mirrored=mirrored)
    return Scattering(dimensions, channels, 1, parameters)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wave(size: int, angle: float, frequency: float = FREQUENCY) -> torch.Tensor:
    """A plane wave ``[1, 1, size, size]`` that runs at ``angle`` to the last axis."""
    rows, columns = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    return torch.cos(frequency * (math.cos(angle) * columns + math.sin(angle) * rows))[None, None]


def test_only_the_linear_layer_travels_and_it_starts_at_zero() -> None:
    state = state_arrays(network())
    assert {name: array.shape for name, array in state.items()} == {
        "head.weight": (1, 3 * 4 * 4**2),
        "head.bias": (1,),
    }
    assert not any(array.any() for array in state.values())


def test_the_default_has_the_size_that_the_page_says() -> None:
    model = Scattering(2, 1, 1, ScatteringParameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == 1153


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("choice", [{}, {"mirrored": True}])
def test_features_of_an_image_depend_on_that_image_alone(dimensions: Dimensions, choice: dict[str, bool]) -> None:
    model = network(dimensions, channels=2, **choice)
    batch = images(3, 2, *(16,) * dimensions)
    together = model.features(batch)
    for number in range(3):
        torch.testing.assert_close(together[number : number + 1], model.features(batch[number : number + 1]))
    assert not torch.allclose(together[0], together[1], atol=0.1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_features_have_one_length_so_that_no_logistic_gradient_is_above_three(dimensions: Dimensions) -> None:
    model = network(dimensions)
    batch = 100 * images(5, 1, *(16,) * dimensions)
    assert torch.allclose(model.features(batch).norm(dim=1), torch.full((5,), LENGTH))
    with torch.no_grad():
        model.head.bias.fill_(50.0)
    torch.nn.functional.softplus(model(batch[:1])).sum().backward()
    assert model.head.weight.grad is not None
    assert model.head.bias.grad is not None
    norm = torch.cat([model.head.weight.grad.flatten(), model.head.bias.grad]).norm()
    assert norm.item() == pytest.approx(3.0)


def test_an_image_without_structure_has_no_features() -> None:
    flat = torch.full((1, 1, 32, 32), 7.0)
    assert network().features(flat).norm() < 1e-3
    assert network().features(flat + images(1, 1, 32, 32)).norm() > 1


def test_features_do_not_see_brightness_and_hardly_contrast() -> None:
    model, batch = network(), images(2, 1, 32, 32)
    torch.testing.assert_close(model.features(batch + 3), model.features(batch), atol=1e-4, rtol=0)
    assert (model.features(2 * batch) - model.features(batch)).norm(dim=1).max() < 0.02 * LENGTH
    assert (model.features(batch.square()) - model.features(batch)).norm(dim=1).min() > 0.5 * LENGTH


@pytest.mark.parametrize(("dimensions", "axis", "other"), [(2, 3, 2), (3, 2, 4)])
def test_mirrored_features_cannot_tell_left_from_right(dimensions: Dimensions, axis: int, other: int) -> None:
    batch = images(2, 1, *(16,) * dimensions)
    plain, mirrored = network(dimensions), network(dimensions, mirrored=True)
    torch.testing.assert_close(mirrored.features(batch.flip(axis)), mirrored.features(batch), atol=1e-4, rtol=0)
    assert not torch.allclose(plain.features(batch.flip(axis)), plain.features(batch), atol=0.1)
    assert not torch.allclose(mirrored.features(batch.flip(other)), mirrored.features(batch), atol=0.1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_wavelets_have_mean_zero_and_norm_one(dimensions: Dimensions) -> None:
    filters = morlet(directions_of(dimensions, 5))
    assert filters.shape == (10, 1, *(7,) * dimensions)
    means = filters.flatten(1).double().mean(1)
    assert means.abs().max() < 1e-8
    norms = filters.unflatten(0, (5, 2)).flatten(1).double().norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(5, dtype=torch.float64))


def test_a_wavelet_is_the_one_of_the_formula() -> None:
    """Re-computed voxel by voxel in complex arithmetic, for the direction (0.6, 0.8)."""
    places = [(row, column) for row in range(-3, 4) for column in range(-3, 4)]
    along = [0.6 * row + 0.8 * column for row, column in places]
    across = [0.8 * row - 0.6 * column for row, column in places]
    envelope = [math.exp(-(u * u + v * v / 4) / (2 * 0.8**2)) for u, v in zip(along, across, strict=True)]
    waves = [cmath.exp(1j * 3 * math.pi / 4 * u) for u in along]
    mean = sum(g * w for g, w in zip(envelope, waves, strict=True)) / sum(envelope)
    values = [g * (w - mean) for g, w in zip(envelope, waves, strict=True)]
    norm = math.sqrt(sum(abs(value) ** 2 for value in values))
    wanted = torch.tensor([[[v.real / norm for v in values]], [[v.imag / norm for v in values]]])
    found = morlet(torch.tensor([[0.6, 0.8]], dtype=torch.float64))
    torch.testing.assert_close(found.flatten(2), wanted)


@pytest.mark.parametrize("direction", range(4))
def test_a_wave_excites_the_wavelet_of_its_direction_most(direction: int) -> None:
    filters = morlet(directions_of(2, 4))
    answers = torch.nn.functional.conv2d(wave(32, math.pi * direction / 4), filters)
    energy = answers.square().mean((0, 2, 3)).unflatten(0, (4, 2)).sum(1)
    assert energy.argmax().item() == direction
    assert energy.max() > 4 * energy.sort().values[-2]


@pytest.mark.parametrize(("slower", "scale"), [(1, 0), (4, 1), (8, 2)])
def test_slower_waves_excite_coarser_scales_most(slower: int, scale: int) -> None:
    averages = network()._averages(wave(64, 0.0, FREQUENCY / slower)).reshape(3, 4, 4, 4)
    assert averages[:, 0].mean((1, 2)).argmax().item() == scale


@pytest.mark.parametrize(("dimensions", "count"), [(2, 1), (2, 8), (3, 1), (3, 6), (3, 13)])
def test_directions_are_unit_vectors_well_apart(dimensions: Dimensions, count: int) -> None:
    directions = directions_of(dimensions, count)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(count, dtype=torch.float64))
    cosines = (directions @ directions.T).abs() - torch.eye(count, dtype=torch.float64)
    assert cosines.max() < 0.95


def test_gradients_reach_the_image_so_that_attacks_can_be_tried() -> None:
    batch = images(1, 1, 32, 32).requires_grad_()
    network().features(batch)[0, 0].backward()
    assert batch.grad is not None
    assert torch.isfinite(batch.grad).all()
    assert batch.grad.abs().max() > 0


def test_gradients_reach_the_image_through_the_logits_too() -> None:
    model, batch = network(), images(2, 1, 32, 32).requires_grad_()
    torch.nn.init.ones_(model.head.weight)
    model(batch).sum().backward()
    assert batch.grad is not None
    assert batch.grad.abs().max() > 0


def test_an_image_that_comes_again_has_the_same_features_whoever_is_beside_it() -> None:
    model = network()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    batch = images(5, 1, 32, 32)
    with torch.inference_mode():
        alone = torch.cat([model(image[None]) for image in batch])
    again = model(batch.flip(0)).flip(0)  # in training, after a prediction
    again.sum().backward()
    torch.testing.assert_close(again.detach(), alone, rtol=1e-5, atol=1e-6)  # the last layer adds in another order
    other = network()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(batch), model.head(model.features(batch)), rtol=1e-5, atol=1e-6)
