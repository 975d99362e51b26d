"""Models that cannot be trained with differential privacy are refused by name; each beside one that can."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wardround.client.train.per_sample import check_model
from wardround.common.errors import WardroundError


def model(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), layer)


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


class Scaled(nn.Linear):
    """Computes something else than its base class."""


def replaced() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = lambda inputs: inputs  # type: ignore[method-assign, assignment]
    return layer


def with_another_parameter() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.gain = nn.Parameter(torch.ones(1))
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2, dilation=2, stride=2, padding=1),
        nn.ConvTranspose3d(4, 4, 3),
        nn.Linear(4, 4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.InstanceNorm2d(4),
        nn.LayerNorm(4),
        nn.PReLU(4),
        nn.Embedding(4, 4),
        nn.MultiheadAttention(4, 2, batch_first=True),
        nn.Dropout(0.0),
        nn.MaxPool2d(2),
    ],
    ids=str,
)
def test_supported_layers_pass(layer: nn.Module) -> None:
    check_model(model(layer))


@pytest.mark.parametrize(
    ("layer", "code", "words"),
    [
        (nn.BatchNorm2d(4), "WR-1804", "2 of type BatchNorm2d"),
        (nn.BatchNorm3d(4, affine=False), "WR-1804", "2 of type BatchNorm3d"),
        (nn.SyncBatchNorm(4), "WR-1804", "2 of type SyncBatchNorm"),
        (nn.Dropout(0.5), "WR-1803", "2 of type Dropout .* how many others came before"),
        (nn.Dropout3d(0.1), "WR-1803", "2 of type Dropout3d"),
        (nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.1), "WR-1803", "how many others came before"),
        (nn.LSTM(4, 4), "WR-1803", "2 of type LSTM"),
        (nn.Bilinear(4, 4, 4), "WR-1803", "2 of type Bilinear"),
        (Gain(), "WR-1803", "2 of type Gain"),
        (Scaled(4, 4), "WR-1803", "2 of type Scaled"),
        (parametrizations.weight_norm(nn.Linear(4, 4)), "WR-1803", "type ParametrizedLinear|ParametrizationList"),
        (nn.utils.spectral_norm(nn.Linear(4, 4)), "WR-1803", "weight_orig"),
        (with_another_parameter(), "WR-1803", "'gain'"),
        (replaced(), "WR-1803", "replaced"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "WR-1803", "'reflect'"),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), "WR-1803", "running statistics"),
        (nn.InstanceNorm2d(4, track_running_stats=True), "WR-1803", "running statistics"),
        (nn.Embedding(4, 4, max_norm=1.0), "WR-1803", "max_norm"),
        (nn.Embedding(4, 4, scale_grad_by_freq=True), "WR-1803", "scale_grad_by_freq"),
        (nn.MultiheadAttention(4, 2), "WR-1803", "batch_first"),
        (nn.MultiheadAttention(4, 2, batch_first=True, add_zero_attn=True), "WR-1803", "add_zero_attn"),
        (nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True), "WR-1803", "bias_k"),
        (nn.MultiheadAttention(4, 2, batch_first=True, kdim=3), "WR-1803", "k_proj_weight"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_others_are_refused_by_name_and_type(layer: nn.Module, code: str, words: str) -> None:
    with pytest.raises(WardroundError, match=words) as refused:
        check_model(model(layer))
    assert refused.value.code == code


def test_the_model_itself_may_be_what_is_refused() -> None:
    with pytest.raises(WardroundError, match="The model itself of type BatchNorm2d"):
        check_model(nn.BatchNorm2d(3))


def test_frozen_layers_may_be_of_any_kind_but_mix_no_patients() -> None:
    check_model(model(nn.LSTM(4, 4).requires_grad_(requires_grad=False)))
    with pytest.raises(WardroundError, match="WR-1804"):
        check_model(model(nn.BatchNorm2d(4).requires_grad_(requires_grad=False)))


def test_shared_weights_are_refused_by_both_names() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    check_model(nn.Sequential(first, second))
    second.weight = first.weight
    with pytest.raises(WardroundError, match=r"0\.weight and 1\.weight") as refused:
        check_model(nn.Sequential(first, second))
    assert refused.value.code == "WR-1803"


def test_shared_memory_is_refused_as_well() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = nn.Parameter(first.weight.detach())
    with pytest.raises(WardroundError, match=r"0\.weight and 1\.weight"):
        check_model(nn.Sequential(first, second))


def test_one_layer_in_two_places_is_one_layer() -> None:
    layer = nn.Linear(4, 4)
    check_model(nn.Sequential(layer, nn.ReLU(), layer))
