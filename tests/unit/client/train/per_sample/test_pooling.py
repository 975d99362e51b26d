"""Maximum pooling is recorded for its speed: values, ties and gradients stay those of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fakes.per_sample_oracle import error
from torch import nn

from wardround.client.train.per_sample import PerSample
from wardround.client.train.per_sample.pooling import MaxPooling

BATCH = torch.randn(6, 2, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
RULES: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": np.int64(2), "stride": np.int64(1)},
]


def pooled(pool: nn.Module) -> nn.Module:
    """With a rectifier before it, so that many values tie."""
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), pool, nn.Flatten(), nn.LazyLinear(3)).double()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What our own pooling was given."""
    seen, plain = [], MaxPooling.forward

    def forward(self: MaxPooling, module: nn.Module, inputs: torch.Tensor, *rest: Any) -> Any:
        seen.append(inputs)
        return plain(self, module, inputs, *rest)

    monkeypatch.setattr(MaxPooling, "forward", forward)
    return seen


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("units", [2, 6])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_each_unit_alone(
    rule: dict[str, Any], units: int, memory: torch.memory_format, taken: list[torch.Tensor]
) -> None:
    model, batch = pooled(nn.MaxPool2d(**rule)), BATCH.contiguous(memory_format=memory)
    assert error(model, batch, units) <= 1e-12
    assert taken


@pytest.mark.parametrize("rule", RULES)
def test_values_are_the_same_bits_also_where_one_is_no_number(rule: dict[str, Any], taken: list[torch.Tensor]) -> None:
    pool, batch = nn.MaxPool2d(**rule), BATCH.float().relu()
    batch[1, 0, 3, 3] = torch.nan
    batch[2, 1, 4, 4] = torch.inf
    plain = pool(batch)
    recorder = PerSample(nn.Sequential(pool, nn.Conv2d(2, 1, 1)))
    with recorder.recording(6):
        assert torch.equal(pool(batch).view(torch.int32), plain.view(torch.int32))
    assert taken


@pytest.mark.parametrize(
    ("pool", "batch"),
    [
        (nn.MaxPool2d(2, return_indices=True), BATCH),
        (nn.MaxPool2d(2), BATCH[0]),  # one image and no batch
        (nn.MaxPool2d(2), (BATCH * 10).to(torch.uint8)),
        (nn.MaxPool2d(2), BATCH[:5]),  # whatever it is that is pooled here, it is not the units
    ],
)
def test_everything_else_is_left_to_pytorch(pool: nn.Module, batch: torch.Tensor, taken: list[torch.Tensor]) -> None:
    plain = pool(batch)
    recorder = PerSample(nn.Sequential(pool, nn.Conv2d(2, 1, 1)).double())
    with recorder.recording(6):
        torch.testing.assert_close(pool(batch), plain, rtol=0, atol=0)
    assert not taken


def test_a_pool_whose_forward_was_replaced_is_left_alone() -> None:
    pool = nn.MaxPool2d(2)
    pool.forward = own = lambda inputs: inputs * 2  # type: ignore[method-assign]
    recorder = PerSample(nn.Sequential(pool, nn.Conv2d(2, 1, 1)).double())
    with recorder.recording(6):
        assert torch.equal(pool(BATCH), BATCH * 2)
    assert pool.forward is own
