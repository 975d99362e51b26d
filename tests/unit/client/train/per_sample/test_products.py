"""Gradients that stay products: equal to those that are written, and within their bound where numbers cancel."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from fakes.per_sample_oracle import error, one_by_one, record, squared_loss
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from wardround.client.train.noisy import clip_factors
from wardround.client.train.per_sample import PerSample, products
from wardround.client.train.per_sample.contributions import Contributions
from wardround.client.train.per_sample.products import NEGLIGIBLE, ROUNDING, Products, suit_products
from wardround.common.models.standardised import StandardisedConv2d

CPU = torch.device("cpu")


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Products]:
    """The products that a recording makes."""
    made: list[Products] = []
    first = Products.__init__

    def note(self: Products, *parts: Any) -> None:
        first(self, *parts)
        made.append(self)

    monkeypatch.setattr(Products, "__init__", note)
    return made


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_convolutions_of_few_positions_are_exact(data: st.DataObject) -> None:
    """Any kernel, stride, dilation and padding; with inner products of pixels and of patches."""
    sizes = st.integers(1, 3)
    kernel, stride, dilation, padding = (tuple(data.draw(st.tuples(sizes, sizes))) for _ in range(4))
    size = [far * (own - 1) + 1 + data.draw(st.integers(0, 3)) for own, far in zip(kernel, dilation, strict=True)]
    units, copies = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    channels = data.draw(st.sampled_from([96, 128]))
    layer = nn.Conv2d(channels, 100, kernel, stride=stride, dilation=dilation, padding=padding, bias=False).double()
    batch = images(units * copies, channels, *size)
    assume(bool(layer(batch).any()))  # a stride may meet nothing but padding
    positions = copies * math.prod(layer(batch[:1]).shape[2:])
    assert error(layer, batch, units) <= 1e-12
    found = PerSample(layer)
    record(found, layer, batch, squared_loss(layer(batch).detach()), units)
    assert bool(found._found._products) == suit_products(units, 100, layer.weight[0].numel(), positions, CPU)


@pytest.mark.parametrize("stride", [1, 3])
def test_products_come_from_pixels_and_from_patches(written: list[Products], stride: int) -> None:
    layer = nn.Conv2d(64, 128, 3, stride=stride, padding=1).double()
    assert error(layer, images(6, 64, 3 * stride, 3 * stride), 3) <= 1e-12
    assert len(written) == 1


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_linear_layers_of_few_rows_are_exact(written: list[Products], leading: tuple[int, ...]) -> None:
    assert error(nn.Linear(96, 100).double(), images(8, *leading, 96), 4) <= 1e-12
    assert len(written) == 1


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_kernels_of_one_value_are_exact(written: list[Products], axes: int) -> None:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]
    assert error(kind(96, 100, 1, stride=2).double(), images(8, 96, *[3] * axes), 4) <= 1e-12
    assert len(written) == 1


class Twice(nn.Module):
    """One layer at two sizes: products first and a written gradient then, or the other way round."""

    def __init__(self, *, small_first: bool) -> None:
        super().__init__()
        self.layer = nn.Conv2d(128, 128, 3, padding=1)
        self.small_first = small_first

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        sizes = (inputs, inputs[..., :3, :3])
        parts = [self.layer(part.tanh()).flatten(2).mean(2) for part in (sizes if self.small_first else sizes[::-1])]
        return parts[0] * 2 + parts[1]


@pytest.mark.parametrize("small_first", [False, True])
@pytest.mark.parametrize("size", [4, 12])
def test_a_layer_that_is_called_twice_adds_up(size: int, *, small_first: bool) -> None:
    assert error(Twice(small_first=small_first).double(), images(4, 128, size, size), 2) <= 1e-12


def test_standardised_weights_are_pulled_back(written: list[Products]) -> None:
    assert error(StandardisedConv2d(64, 128, 3, padding=1).double(), images(6, 64, 3, 3), 3) <= 1e-12
    assert len(written) == 1


@pytest.mark.parametrize(
    ("units", "outputs", "inputs", "columns", "suit"),
    [
        (8, 256, 2304, 64, True),
        (8, 255, 2304, 64, False),
        (8, 2304, 255, 64, False),
        (8, 512, 4608, 65, False),
        (16, 512, 4608, 64, True),
        (17, 512, 4608, 64, False),
        (1, 4, 1 << 18, 1, False),
        (1, 4, (1 << 18) - 5, 1, True),
        (8, 90, 90, 1, False),
        (8, 91, 91, 1, True),
    ],
)
def test_products_are_kept_within_the_bounds_and_where_they_are_faster(
    units: int, outputs: int, inputs: int, columns: int, *, suit: bool
) -> None:
    assert suit_products(units, outputs, inputs, columns, CPU) == suit
    assert not suit_products(units, outputs, inputs, columns, torch.device("cuda"))


LEAST = 2.0**-46
"""The least share of a product that can be left over where columns of float32 cancel in pairs."""


def exact_square(left: np.ndarray, right: np.ndarray) -> Fraction:
    """The squared norm of ``L R'``, of float32 sides, in fractions."""
    sides = [[[Fraction(float(value)) for value in row] for row in side.T] for side in (left, right)]
    inner = [
        [[sum(a * b for a, b in zip(one, other, strict=True)) for other in side] for one in side] for side in sides
    ]
    columns = range(left.shape[1])
    return sum((inner[0][k][j] * inner[1][k][j] for k in columns for j in columns), Fraction(0))


def cancelling(scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sides ``[O, 4]`` and ``[I, 4]`` whose columns cancel in pairs, all but a part that is ``scale`` times smaller."""
    generator = np.random.default_rng(seed)
    if scale == LEAST:  # powers of two, times 1 + 2^-23 and 1 - 2^-23
        left, right = (generator.choice([-2.0, -1.0, 1.0, 0.5], (rows, 2)) for rows in (12, 20))
        left, right = (
            np.concatenate([side, side * by], 1) for side, by in ((left, -1 - 2.0**-23), (right, 1 - 2.0**-23))
        )
        return left.astype(np.float32), right.astype(np.float32)
    left, right = generator.normal(size=(12, 2)), generator.normal(size=(20, 2))
    left = np.concatenate([left, -left + scale * generator.normal(size=left.shape)], axis=1)
    return left.astype(np.float32), np.concatenate([right, right], axis=1).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 2.0**-4, 2.0**-9, 2.0**-14, 2.0**-20, 2.0**-23, LEAST, 0.0])
def test_no_norm_is_too_small_however_much_cancels(scale: float) -> None:
    """The crafted case: what is added has a norm of C at most, although float64 may find nothing of it."""
    inflated = []
    for seed in range(20):
        left, right = cancelling(scale, seed)
        found = Products.of(*(torch.from_numpy(side).unsqueeze(0) for side in (left, right))).squares.item()
        exact = exact_square(left, right)
        assert exact <= Fraction(found) * Fraction(1 + NEGLIGIBLE)
        inflated.append(float(exact) < found * (1 - 2 * NEGLIGIBLE))
    assert inflated == [scale <= 2.0**-9] * 20


def test_the_rounding_bound_is_above_what_is_measured_and_would_be_missed() -> None:
    """Without the bound norms of cancelling gradients are wrong by factors, and some are found to be zero."""
    shares, wrong = [], 0
    for seed in range(60):
        left, right = cancelling(LEAST, seed)
        sides = [torch.from_numpy(side).double() for side in (left, right)]
        inner = [side.T @ side for side in sides]
        naive = float((inner[0] * inner[1]).sum())
        terms = float((inner[0].diagonal() * inner[1].diagonal()).sqrt().sum() ** 2)
        exact = float(exact_square(left, right))
        shares.append(abs(naive - exact) / (ROUNDING * terms))
        wrong += naive < exact / 2
    assert max(shares) < 0.01
    assert wrong > 0, "so it is needed"


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-12, 0.0])
def test_a_clipped_unit_adds_the_clipping_norm_at_most(scale: float) -> None:
    """Through the whole way: weights at which large numbers cancel, and the sum that is really added."""
    layer = nn.Linear(96, 100, bias=False)
    generator = torch.Generator().manual_seed(4)
    half = torch.randn(5, 2, 96, generator=generator)
    batch = torch.cat([half, half + scale * torch.randn(5, 2, 96, generator=generator)], 1) * 1e6
    direction = torch.randn(5, 2, 100, generator=generator)
    target = torch.cat([direction, -direction], 1)
    recorder = PerSample(layer)
    with recorder.recording(5):
        (layer(batch) * target).sum().backward()
    assert recorder._found._products
    factors = clip_factors(recorder.norms(), 1.0)
    for unit in range(5):
        with recorder.recording(5):
            (layer(batch) * target).sum().backward()
        alone = recorder.weighted_sum(torch.where(torch.arange(5) == unit, factors, 0.0))
        norm = float(torch.linalg.vector_norm(alone.whole))
        assert norm <= 1 + 2 * NEGLIGIBLE
        assert norm > 0.99 or scale < 1


def test_adding_a_patient_moves_a_sum_of_cancelling_gradients_by_its_norm() -> None:
    """What rounding does to the others is far below the slack, with the worst numbers that clipping lets through."""
    generator = torch.Generator().manual_seed(5)
    left, right = torch.randn(8, 100, 4, generator=generator), torch.randn(8, 96, 4, generator=generator)
    left[:, :, 2:], right[:, :, 2:] = -left[:, :, :2], right[:, :, :2] * (1 + 2.0**-23)
    found = Contributions(8, CPU)
    found.add("weight", Products.of(left * 1e10, right * 1e10))
    factors = clip_factors(found.norms(), 1.0)
    sums = []
    for taken in (torch.ones(8), torch.tensor([1.0] * 7 + [0.0])):
        sums.append({"weight": torch.empty(100, 96, dtype=torch.float64)})
        again = Contributions(8, CPU)
        again.add("weight", Products.of(left * 1e10, right * 1e10))
        again.add_to(sums[-1], factors * taken, fresh=True)
    exact = factors[7] * (left[7] * 1e10).double() @ (right[7] * 1e10).double().T
    rest = sums[0]["weight"] - sums[1]["weight"] - exact
    assert torch.linalg.vector_norm(exact) <= 1 + NEGLIGIBLE
    assert torch.linalg.vector_norm(rest) < 2.0**-20


def test_factors_of_0_and_values_that_are_not_finite_take_no_part() -> None:
    layer = nn.Linear(96, 100).double()
    batch = images(4, 96)
    loss = squared_loss(layer(batch).detach())
    alone = one_by_one(layer, batch, loss, 4)
    batch[1, 3], batch[2, 4] = math.nan, math.inf
    recorder = PerSample(layer)
    record(recorder, layer, batch, loss, 4)
    assert recorder._found._products
    assert torch.isfinite(recorder.norms()).tolist() == [True, False, False, True]
    factors = clip_factors(recorder.norms(), 1e9)
    assert factors.tolist() == [1, 0, 0, 1]
    sums = recorder.weighted_sum(factors)
    torch.testing.assert_close(sums["weight"], alone[0]["weight"] + alone[3]["weight"])
    record(recorder, layer, batch, loss, 4)
    again = recorder.weighted_sum(torch.zeros(4), sums)
    torch.testing.assert_close(again["weight"], alone[0]["weight"] + alone[3]["weight"])
    record(recorder, layer, batch, loss, 4)
    assert not recorder.weighted_sum(torch.zeros(4))["weight"].any()


def test_units_with_one_gradient_are_alike_and_others_are_not() -> None:
    left, right = (images(1, rows, 2).float().expand(4, -1, -1).clone() for rows in (100, 96))
    assert Products.of(left, right).alike()
    for side in (left, right):
        side[2, 5, 1] = torch.nextafter(side[2, 5, 1], torch.tensor(9.0))
        assert not Products.of(left, right).alike()
        side[2] = side[0]


def test_numbers_beyond_float32_are_clipped_and_not_lost() -> None:
    """A gradient of 1e60 could not be written in float32; as a product it is one more that is clipped."""
    left, right = torch.full((1, 100, 2), 1e30), torch.full((1, 96, 2), 1e30)
    found = Products.of(left, right)
    norm = found.squares.sqrt()
    assert norm.item() == pytest.approx(2e60 * math.sqrt(9600), rel=1e-6)
    total = torch.empty(9600, dtype=torch.float64)
    found.add_to(total, 1 / norm, None, beta=0)
    assert torch.linalg.vector_norm(total).item() == pytest.approx(1, rel=1e-6)


def test_the_bounds_are_those_of_the_proof() -> None:
    assert (products.ROUNDING, products.NEGLIGIBLE) == (2.0**-34, 2.0**-20)
    assert 1.01 * (products.LARGEST + 3) * 2.0**-53 < products.ROUNDING
    # The sums of neighbours, of 16,000 patients in a step (common/privacy/README.md, section 7), in clipping norms.
    each = 1.01 * (products.TERMS + 1) * 2.0**-53 / math.sqrt(products.ROUNDING)
    assert 2 * 16_000 * each < 2.0**-11
    assert 2 * (products.FEW + 1) * 16_000**2 * 2.0**-53 < 2.0**-17
