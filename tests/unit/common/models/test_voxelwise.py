"""Features of voxels come from formulae alone, one image at a time, and only a linear layer is trained."""

from __future__ import annotations

import math
from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

from wardround.common.models.state import state_arrays
from wardround.common.models.voxelwise import LIMIT, Voxelwise, VoxelwiseParameters

Dimensions = Literal[2, 3]


def network(dimensions: Dimensions = 2, *, channels: int = 1, scales: int = 3, waves: int = 2) -> Voxelwise:
    return Voxelwise(dimensions, channels, 3, VoxelwiseParameters(scales=scales, waves=waves))


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(model: Voxelwise) -> Voxelwise:
    """The model with weights that are not zero."""
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, generator=generator)
    return model


def waves_of(periods: int, size: tuple[int, ...]) -> torch.Tensor:
    """The waves voxel by voxel, ``[waves, *size]``."""
    found = [
        [
            math.prod(math.cos(math.pi * k * (i + 0.5) / n) for k, i, n in zip(wave, voxel, size, strict=True))
            for voxel in product(*map(range, size))
        ]
        for wave in product(range(periods + 1), repeat=len(size))
        if sum(wave) <= periods
    ]
    return torch.tensor(found).reshape(-1, *size)


def test_only_the_heads_travel_and_they_start_at_zero() -> None:
    state = state_arrays(Voxelwise(3, 1, 3, VoxelwiseParameters()))
    assert {name: array.shape for name, array in state.items()} == {
        "heads.0.weight": (3, 6, 1),  # brightness, three slopes, their norm, detail
        "heads.1.weight": (3, 7, 1),  # and the root mean square of the detail of the scale before
        "heads.2.weight": (3, 7, 1),
        "heads.3.weight": (3, 6, 1),  # the coarsest scale has no detail
        "heads.4.weight": (3, 35, 1),  # waves
    }
    assert sum(array.size for array in state.values()) == 183  # as the page says
    assert not any(array.any() for array in state.values())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_heads_are_one_linear_layer_over_all_maps_at_the_size_of_the_image(dimensions: Dimensions) -> None:
    """In the order of the definition: every map is interpolated first, and multiplied then."""
    size = (9, 12, 10)[:dimensions]
    model, batch = trained(network(dimensions, channels=2, waves=3)), images(2, 2, *size)
    mode = "bilinear" if dimensions == 2 else "trilinear"
    maps = [
        found if found.shape[2:] == size else F.interpolate(found, size, mode=mode) for found in model.features(batch)
    ]
    maps.append(waves_of(3, size).expand(2, -1, *size))
    weight = torch.cat([weight.flatten(1) for weight in model.parameters()], 1)
    wanted = torch.einsum("om,bm...->bo...", weight, torch.cat(maps, 1))
    torch.testing.assert_close(model(batch), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_features_of_an_image_depend_on_that_image_alone(dimensions: Dimensions) -> None:
    model = network(dimensions, channels=2)
    batch = images(3, 2, *(9, 12, 10)[:dimensions])
    together = model.features(batch)
    for number in range(3):
        alone = model.features(batch[number : number + 1])
        for every, own in zip(together, alone, strict=True):
            torch.testing.assert_close(every[number : number + 1], own)
    assert all(not torch.allclose(maps[0], maps[1], atol=0.1) for maps in together)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_channels_have_maps_of_their_own(dimensions: Dimensions) -> None:
    batch = images(1, 2, *(9, 12, 10)[:dimensions])
    both = network(dimensions, channels=2).features(batch)
    single = [network(dimensions).features(batch[:, channel : channel + 1]) for channel in range(2)]
    for maps, first, second in zip(both, *single, strict=True):
        torch.testing.assert_close(maps, torch.cat([first, second], 1))
        assert not torch.allclose(first, second, atol=0.1)


def test_slopes_of_a_ramp_are_what_calculus_says() -> None:
    """Brightness 2 r - c: derivatives 2 and -1 inside, half of that at the borders that are crossed."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    (found,) = network(scales=1).features((2 * rows - columns)[None, None])
    _, down, right, norm = found[0]
    assert torch.allclose(down[1:-1], down[5, 5])
    assert torch.allclose(down[0], down[5, 5] / 2)
    assert torch.allclose(right[:, 1:-1], right[5, 5])
    # Each map is divided by its root mean square: 14 of 16 lines have the slope, 2 have half of it.
    assert down[5, 5].item() == pytest.approx(1 / math.sqrt((14 + 2 / 4) / 16))
    assert right[5, 5].item() == pytest.approx(-1 / math.sqrt((14 + 2 / 4) / 16))
    assert norm[1:-1, 1:-1].std().item() == pytest.approx(0, abs=1e-5)


def test_scales_are_means_of_cells() -> None:
    """The second scale's brightness against NumPy."""
    batch = images(1, 1, 8, 12)
    cells = batch[0, 0].numpy().reshape(4, 2, 6, 2).mean((1, 3))
    wanted = cells / np.sqrt((cells**2).mean())
    found = network(scales=2).features(batch)[1][0, 0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_detail_is_what_the_next_scale_lacks_and_its_size_is_seen_there() -> None:
    """Stripes of one voxel: no cell of two knows of them; detail alternates, and is as large everywhere."""
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    fine, coarse = network(scales=2).features(stripes)
    torch.testing.assert_close(fine[0, -1], stripes[0, 0])
    torch.testing.assert_close(coarse[0, -1], torch.ones(8, 8))


def test_position_is_a_table_of_cosines() -> None:
    model, size = network(waves=2), (8, 10)
    with torch.no_grad():
        model.heads[-1].weight[0, :, 0] = torch.arange(1.0, 7.0)
    wanted = torch.einsum("w,wrc->rc", torch.arange(1.0, 7.0), waves_of(2, size))
    found = model(images(1, 1, *size))[0]
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-5)
    assert not found[1:].any()


def test_no_feature_is_beyond_the_limit() -> None:
    spike = images(1, 1, 32, 32)
    spike[0, 0, 7, 9] = 1e6
    found = network().features(spike)
    assert found[0].abs().max().item() == pytest.approx(LIMIT)
    assert all(torch.isfinite(maps).all() for maps in found)


def test_an_image_without_structure_leaves_position_alone() -> None:
    model = network()
    assert all(maps.abs().max() < 0.01 for maps in model.features(torch.zeros(1, 1, 16, 16)))
    assert all(maps.abs().max() > 1 for maps in model.features(images(1, 1, 16, 16)))


def test_features_do_not_see_contrast() -> None:
    model, batch = network(), images(2, 1, 16, 16)
    for maps, brighter, other in zip(*map(model.features, (batch, 5 * batch, batch.square())), strict=True):
        torch.testing.assert_close(brighter, maps, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(other, maps, atol=0.1)


def test_gradients_reach_the_image_so_that_attacks_can_be_tried() -> None:
    for batch in (images(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)):
        batch.requires_grad_()
        sum(maps[0, :, 0, 0].sum() for maps in network().features(batch)).backward()
        assert batch.grad is not None
        assert torch.isfinite(batch.grad).all()


def test_gradients_reach_the_image_through_the_logits_too() -> None:
    model, batch = trained(network()), images(2, 1, 16, 16)
    model(batch)  # an image that is known
    model(batch.requires_grad_()).square().sum().backward()
    assert batch.grad is not None
    assert batch.grad.abs().max() > 0


def test_an_image_that_comes_again_has_the_same_logits_whoever_is_beside_it() -> None:
    model, batch = trained(network()), images(5, 1, 16, 16)
    with torch.inference_mode():
        alone = torch.cat([model(image[None]) for image in batch])
    again = model(batch.flip(0)).flip(0)  # in training, after a prediction
    again.sum().backward()
    torch.testing.assert_close(again.detach(), alone, rtol=1e-5, atol=1e-5)  # layers may add in another order


def test_mixed_precision_leaves_the_logits_exact() -> None:
    model, batch = trained(network()), images(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, model(batch))
