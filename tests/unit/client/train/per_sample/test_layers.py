"""Every layer and option, over drawn shapes, against one plain backward pass for every unit, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes.per_sample_oracle import error, one_by_one, squared_loss
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from wardround.client.train.noisy import clip_factors
from wardround.client.train.per_sample import PerSample
from wardround.client.train.per_sample.contributions import squares
from wardround.client.train.per_sample.convolution import FEW

EXACT = 1e-12
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

drawn = hypothesis_settings(max_examples=60, deadline=None)
UNITS, COPIES = st.integers(1, 4), st.integers(1, 3)


def images(units: int, copies: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(units * copies, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.integers(1, 3))
    return {
        "in_channels": groups * draw(st.integers(1, 3)),
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(st.integers(1, 3)),
        "stride": draw(st.integers(1, 3)),
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


@drawn
@given(
    st.integers(1, 3), convolutions(), st.one_of(st.integers(0, 2), st.sampled_from(["same", "valid"])), UNITS, COPIES
)
def test_convolutions(axes: int, options: dict[str, Any], padding: int | str, units: int, copies: int) -> None:
    options = options | ({"stride": 1} if padding == "same" else {})
    layer = CONVOLUTIONS[axes](**options, padding=padding).double()
    assert error(layer, images(units, copies, options["in_channels"], *(7, 6, 5)[:axes]), units) <= EXACT


@drawn
@given(st.integers(1, 3), convolutions(), st.integers(0, 1), st.integers(0, 1), UNITS, COPIES)
def test_transposed_convolutions(  # noqa: PLR0917 - hypothesis hands them over by place
    axes: int, options: dict[str, Any], padding: int, more: int, units: int, copies: int
) -> None:
    added = min(more, max(options["stride"], options["dilation"]) - 1)
    layer = TRANSPOSED[axes](**options, padding=padding, output_padding=added).double()
    assert error(layer, images(units, copies, options["in_channels"], *(4, 3, 4)[:axes]), units) <= EXACT


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("outputs", [1, FEW - 1, FEW])
@pytest.mark.parametrize("memory", ["contiguous", "last"])
def test_transposed_convolutions_with_few_outputs_and_many(axes: int, outputs: int, memory: str) -> None:
    layer = TRANSPOSED[axes](5, outputs, 3, stride=2, padding=1, output_padding=1, dilation=1)
    last = torch.channels_last if axes == 2 else torch.channels_last_3d
    batch = images(3, 2, 5, *(4, 3, 4)[:axes])
    if memory == "last":
        layer, batch = layer.to(memory_format=last), batch.contiguous(memory_format=last)
    with PerSample(layer).recording(3):
        recorded = layer(batch.float())
    assert torch.allclose(recorded, layer(batch.float()), rtol=1e-5, atol=1e-6)
    assert error(layer.double(), batch, 3) <= EXACT


@pytest.mark.parametrize("size", [7, 8])
def test_a_transposed_convolution_whose_output_has_a_given_size(size: int) -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.up(inputs, output_size=[size, size])
            return found

    assert error(Sized().double(), images(3, 2, 2, 4, 4), 3) <= EXACT


@drawn
@given(st.lists(st.integers(1, 4), max_size=2), st.integers(1, 5), st.integers(1, 5), st.booleans(), UNITS, COPIES)
def test_linear_layers_with_any_leading_axes(  # noqa: PLR0917 - hypothesis hands them over by place
    leading: list[int],
    inputs: int,
    outputs: int,
    bias: bool,  # noqa: FBT001
    units: int,
    copies: int,
) -> None:
    layer = nn.Linear(inputs, outputs, bias=bias).double()
    assert error(layer, images(units, copies, *leading, inputs), units) <= EXACT


@pytest.mark.parametrize(
    "layer",
    [
        nn.GroupNorm(2, 4),
        nn.GroupNorm(4, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm(5),
        nn.LayerNorm((6, 5), eps=1e-3),
        nn.LayerNorm((4, 6, 5), bias=False),
        nn.PReLU(),
        nn.PReLU(4, init=1.5),
    ],
    ids=str,
)
@pytest.mark.parametrize(("units", "copies"), [(1, 1), (3, 1), (2, 3)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_normalisation_and_slopes(layer: nn.Module, units: int, copies: int, memory: torch.memory_format) -> None:
    layer = layer.double()
    for number, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    assert error(layer, images(units, copies, 4, 6, 5).contiguous(memory_format=memory), units) <= EXACT


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("copies", [1, 2])
def test_instance_normalisation_in_other_dimensions(axes: int, copies: int) -> None:
    layer = (nn.InstanceNorm1d if axes == 1 else nn.InstanceNorm3d)(3, affine=True).double()
    assert error(layer, images(3, copies, 3, *(4, 3, 5)[:axes]), 3) <= EXACT


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_slopes_of_inputs_without_spatial_axes(shape: tuple[int, ...]) -> None:
    assert error(nn.Sequential(nn.PReLU()).double(), images(3, 1, *shape), 3) <= EXACT


class Words(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 3, **options)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.words(batch.argsort(1))
        return found


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("copies", [1, 2])
def test_embeddings(padding: int | None, copies: int) -> None:
    assert error(Words(padding_idx=padding).double(), images(3, copies, 5), 3) <= EXACT


class Attending(nn.Module):
    """Attention between a sequence and changed copies of it, with masks."""

    def __init__(self, *, weigh: bool, same: bool, masks: bool, bias: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, bias=bias)
        self.weigh, self.same, self.masks = weigh, same, masks

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        others = (tokens, tokens) if self.same else (tokens.flip(1), 2 * tokens)
        masks: dict[str, Any] = {}
        if self.masks:
            length = tokens.shape[1]
            masks["attn_mask"] = torch.ones(length, length, dtype=torch.bool).triu(1)
            masks["key_padding_mask"] = (torch.arange(length) == 3).expand(len(tokens), -1)
        found, weights = self.attention(tokens, *others, need_weights=self.weigh, **masks)
        assert (weights is not None) == self.weigh
        total: torch.Tensor = found if weights is None else found + weights.sum(1).unsqueeze(2)
        return total


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_attention_in_value_and_gradient(*, weigh: bool, same: bool, masks: bool, bias: bool) -> None:
    model = Attending(weigh=weigh, same=same, masks=masks, bias=bias).double()
    batch = images(3, 2, 5, 8)
    assert error(model, batch, 3) <= EXACT
    plain = model(batch)
    with PerSample(model).recording(3):
        torch.testing.assert_close(model(batch), plain, rtol=1e-12, atol=1e-12)


def test_masks_for_every_head_and_weights_of_every_head() -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            mask = torch.ones(len(tokens) * 2, 5, 5, dtype=torch.bool).triu(1)
            found, weights = self.attention(tokens, tokens, tokens, attn_mask=mask, average_attn_weights=False)
            assert weights.shape == (len(tokens), 2, 5, 5)
            total: torch.Tensor = found
            return total

    assert error(Headed().double(), images(3, 1, 5, 8), 3) <= EXACT


def test_a_transformer_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    assert error(layer, images(4, 1, 5, 8), 4) <= EXACT


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 3, 3), (8, 8)),
        (nn.ConvTranspose1d(2, 3, 3), (8,)),
        (nn.MultiheadAttention(8, 2, batch_first=True), (8,)),
    ],
    ids=["convolution", "transposed", "attention"],
)
def test_an_input_that_is_no_batch_is_a_bug(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = (torch.randn(2, *shape),) * (3 if isinstance(layer, nn.MultiheadAttention) else 1)
    with PerSample(layer).recording(2), pytest.raises(ValueError, match="batch"):
        layer(*inputs)
    layer(*inputs)  # plain PyTorch takes it for one image


def test_axis_0_must_hold_the_units() -> None:
    layer = nn.Linear(3, 1)
    with PerSample(layer).recording(2), pytest.raises(ValueError, match="2 units"):
        layer(torch.randn(3, 3))
    with PerSample(layer).recording(3):
        layer(torch.randn(3, 3)).sum().backward()


@pytest.mark.parametrize("kind", ["linear", "convolution", "strided", "transposed"])
@pytest.mark.parametrize("copies", [1, 2])
def test_large_weights_that_few_positions_meet_are_exact(kind: str, copies: int) -> None:
    layer = {
        "linear": nn.Linear(64, 70),
        "convolution": nn.Conv2d(64, 70, 3, padding=1, dilation=1),
        "strided": nn.Conv2d(64, 70, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
        "transposed": nn.ConvTranspose2d(64, 70, 3, stride=2, padding=1, output_padding=1),
    }[kind].double()
    batch = images(3, copies, 64) if kind == "linear" else images(3, copies, 64, 4, 4)
    assert error(layer, batch, 3) <= EXACT


@pytest.mark.parametrize("size", [1e4, 1e8, 1e12, 1e15])
def test_the_norm_is_that_of_what_is_added_however_much_cancels(size: float) -> None:
    """Two copies of a unit whose gradients nearly cancel: float32 keeps rounding errors, and they are clipped too."""
    layer = nn.Linear(64, 1)
    recorder = PerSample(layer)
    batch = size * (1 + 1e-7 * torch.randn(2 * 3, 64, generator=torch.Generator().manual_seed(0)))
    with recorder.recording(3):
        signs = torch.tensor([[1.0], [-1.0]]).repeat(3, 1)
        (layer(batch) * signs).sum().backward()
    norms = recorder.norms()
    added = recorder.weighted_sum(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    total = torch.cat([part.flatten() for part in added.values()])
    assert float(torch.linalg.vector_norm(total)) == pytest.approx(float(norms[0]), rel=2.0**-14)
    assert float(norms[0]) > 0


def test_a_gradient_whose_square_float32_cannot_hold_counts_as_nothing() -> None:
    layer = nn.Linear(2, 1, bias=False)
    recorder = PerSample(layer)
    with recorder.recording(2):
        layer(torch.tensor([[1e25, 1.0], [1e15, 1.0]])).sum().backward()
    factors = clip_factors(recorder.norms(), 1.0)
    assert factors[0] == 0
    assert float(recorder.weighted_sum(factors)["weight"].norm()) == pytest.approx(1, rel=2.0**-14)


@pytest.mark.parametrize("values", [1, 511, 512, 513, 5000])
def test_squares_are_good_to_the_stated_share(values: int) -> None:
    """Also where one value is far larger than all others, which a running sum in float32 would lose."""
    gradients = torch.randn(3, values, generator=torch.Generator().manual_seed(values))
    gradients[0, 0] = 3e4
    exact = gradients.double().square().sum(1)
    assert squares(gradients) == pytest.approx(exact, rel=2.0**-14)
    assert squares(gradients.double()) == pytest.approx(exact, rel=1e-14)
    assert squares(gradients.half()) == pytest.approx(gradients.half().double().square().sum(1), rel=2.0**-14)


def test_a_layer_that_is_called_twice_adds_up_also_where_it_is_large() -> None:
    for size in (3, 40):
        layer = nn.Linear(size, size).double()
        assert error(nn.Sequential(layer, nn.Tanh(), layer), images(3, 2, size), 3) <= EXACT


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last_3d])
def test_float32_is_near_float64_in_either_memory_layout(memory: torch.memory_format) -> None:
    model = nn.Sequential(nn.Conv3d(2, 16, 3), nn.InstanceNorm3d(16, affine=True), nn.PReLU(), nn.Conv3d(16, 4, 1))
    model = model.to(memory_format=memory)  # type: ignore[call-overload]
    batch = images(4, 1, 2, 6, 5, 7).float().contiguous(memory_format=memory)
    assert error(model, batch, 4) <= 1e-5
    assert error(model, batch, 2) <= 1e-5


def test_autocast_computes_in_bfloat16_and_is_near() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.PReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 4)
    )
    seen: list[torch.dtype] = []
    model[3].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    batch = images(3, 2, 2, 6, 6).float()
    loss = squared_loss(model(batch).detach())
    alone = one_by_one(model, batch, loss, 3)
    recorder = PerSample(model)
    with recorder.recording(3), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.autograd.backward(3 * loss(model(batch).float(), slice(0, 6)))
    assert seen == [torch.float32] * 4 + [torch.bfloat16]
    sums = recorder.weighted_sum(torch.ones(3, dtype=torch.float64))
    for name, found in sums.items():
        plain = torch.stack([gradients[name] for gradients in alone]).sum(0)
        assert functional.cosine_similarity(found.flatten(), plain.flatten(), dim=0) > 0.99
        assert found.dtype == torch.float64
