"""Features of voxels come from formulae alone, one image at a time, and only a linear layer is trained."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from wardround.common.models.state import state_arrays
from wardround.common.models.voxelwise import LIMIT, Voxelwise, VoxelwiseParameters

Dimensions = Literal[2, 3]


def network(dimensions: Dimensions = 2, *, channels: int = 1, scales: int = 3, waves: int = 2) -> Voxelwise:
    return Voxelwise(dimensions, channels, 3, VoxelwiseParameters(scales=scales, waves=waves))


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_only_the_linear_layer_travels_and_it_starts_at_zero() -> None:
    state = state_arrays(Voxelwise(3, 1, 3, VoxelwiseParameters()))
    assert {name: array.shape for name, array in state.items()} == {"head.weight": (3, 61, 1, 1, 1)}
    assert sum(array.size for array in state.values()) == 183  # as the page says
    assert not any(array.any() for array in state.values())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_features_of_an_image_depend_on_that_image_alone(dimensions: Dimensions) -> None:
    model = network(dimensions, channels=2)
    batch = images(3, 2, *(9, 12, 10)[:dimensions])
    together = model.features(batch)
    for number in range(3):
        torch.testing.assert_close(together[number : number + 1], model.features(batch[number : number + 1]))
    assert not torch.allclose(together[0], together[1], atol=0.1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_channels_have_maps_of_their_own(dimensions: Dimensions) -> None:
    batch = images(1, 2, *(9, 12, 10)[:dimensions])
    both = network(dimensions, channels=2).features(batch)[0]
    single = [network(dimensions).features(batch[:, channel : channel + 1])[0] for channel in range(2)]
    maps = 3 * (dimensions + 2) + 4
    torch.testing.assert_close(both[:maps], single[0][:maps])
    torch.testing.assert_close(both[maps : 2 * maps], single[1][:maps])


def test_slopes_of_a_ramp_are_what_calculus_says() -> None:
    """Brightness 2 r - c: derivatives 2 and -1 inside, half of that at the borders that are crossed."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    found = network(scales=1, waves=0).features((2 * rows - columns)[None, None])[0]
    down, right, norm = found[1], found[2], found[3]
    assert torch.allclose(down[1:-1], down[5, 5])
    assert torch.allclose(down[0], down[5, 5] / 2)
    assert torch.allclose(right[:, 1:-1], right[5, 5])
    # Each map is divided by its root mean square: 14 of 16 lines have the slope, 2 have half of it.
    assert down[5, 5].item() == pytest.approx(1 / math.sqrt((14 + 2 / 4) / 16))
    assert right[5, 5].item() == pytest.approx(-1 / math.sqrt((14 + 2 / 4) / 16))
    assert norm[1:-1, 1:-1].std().item() == pytest.approx(0, abs=1e-5)


def test_scales_are_means_of_cells() -> None:
    """The second scale's brightness, before it is brought to the image's size, against NumPy."""
    batch = images(1, 1, 8, 12)
    cells = batch[0, 0].numpy().reshape(4, 2, 6, 2).mean((1, 3))
    wanted = cells / np.sqrt((cells**2).mean())
    found = network(scales=2)._of_scales(batch)[3][0, 0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_position_is_a_table_of_cosines() -> None:
    found = network(waves=2).features(images(1, 1, 8, 10))[0, -6:].numpy()
    rows, columns = (np.arange(8) + 0.5) / 8, (np.arange(10) + 0.5) / 10
    periods = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    wanted = [np.outer(np.cos(np.pi * a * rows), np.cos(np.pi * b * columns)) for a, b in periods]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_no_feature_is_beyond_the_limit() -> None:
    spike = images(1, 1, 32, 32)
    spike[0, 0, 7, 9] = 1e6
    found = network().features(spike)
    assert found.abs().max().item() == pytest.approx(LIMIT)
    assert torch.isfinite(found).all()


def test_an_image_without_structure_leaves_position_alone() -> None:
    model = network()
    flat = model.features(torch.zeros(1, 1, 16, 16))
    assert flat[0, :-6].abs().max() < 0.01
    assert model.features(images(1, 1, 16, 16))[0, :-6].abs().max() > 1


def test_features_do_not_see_contrast() -> None:
    model, batch = network(), images(2, 1, 16, 16)
    torch.testing.assert_close(model.features(5 * batch), model.features(batch), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.features(batch.square()), model.features(batch), atol=0.1)


def test_gradients_reach_the_image_so_that_attacks_can_be_tried() -> None:
    for batch in (images(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)):
        batch.requires_grad_()
        network().features(batch)[0, :, 3, 3].sum().backward()
        assert batch.grad is not None
        assert torch.isfinite(batch.grad).all()
