"""A model's state leaves and returns unchanged, and misfits change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from wardround.common.errors import WardroundError
from wardround.common.models.state import load_state_arrays, read_state, state_arrays


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_floats_in_order_without_integer_buffers() -> None:
    arrays = state_arrays(small())
    assert list(arrays) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "3.weight", "3.bias",
    ]  # fmt: skip
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays.values())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_round_trip_is_exact_in_either_memory_layout(layout: torch.memory_format) -> None:
    source, target = small(0), small(1)
    source.to(memory_format=layout)  # type: ignore[call-overload]
    arrays = state_arrays(source)
    places = [tensor.data_ptr() for tensor in target.state_dict().values()]
    load_state_arrays(target, arrays)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])
    assert places == [tensor.data_ptr() for tensor in target.state_dict().values()]


def test_arrays_are_independent_of_the_model() -> None:
    model = small()
    arrays = state_arrays(model)
    before = arrays["0.bias"].copy()
    with torch.no_grad():
        model.state_dict()["0.bias"].add_(1)
    np.testing.assert_array_equal(arrays["0.bias"], before)


def test_read_only_arrays_load() -> None:
    model = small()
    arrays = state_arrays(small(1))
    for array in arrays.values():
        array.flags.writeable = False
    load_state_arrays(model, arrays)
    np.testing.assert_array_equal(state_arrays(model)["0.weight"], arrays["0.weight"])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_state_is_read_into_arrays_that_are_there(layout: torch.memory_format) -> None:
    model = small().to(memory_format=layout)  # type: ignore[call-overload]
    expected = state_arrays(model)
    into = {name: np.full(array.shape, np.nan, np.float32) for name, array in expected.items()}
    read_state(model, into)
    for name, array in expected.items():
        np.testing.assert_array_equal(into[name], array)


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_the_state_is_not_read_into_arrays_of_another_model(damage: str) -> None:
    into = state_arrays(small())
    if damage == "missing":
        del into["0.bias"]
    else:
        into["0.bias"] = np.zeros((1, 4), np.float32)
    with pytest.raises(ValueError, match=r"model|shape"):
        read_state(small(), into)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "dtype"])
def test_misfits_are_refused_and_change_nothing(damage: str) -> None:
    model, arrays = small(0), state_arrays(small(1))
    if damage == "missing":
        del arrays["3.bias"]
    elif damage == "unknown":
        arrays["9.bias"] = np.zeros(2, np.float32)
    elif damage == "shape":
        arrays["3.bias"] = np.zeros(3, np.float32)
    else:
        arrays["3.bias"] = arrays["3.bias"].astype(np.float64)
    before = state_arrays(model)
    with pytest.raises(WardroundError) as refused:
        load_state_arrays(model, arrays)
    assert refused.value.code == "WR-1205"
    for name, array in state_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_other_floats_are_a_bug() -> None:
    with pytest.raises(TypeError, match="float64"):
        state_arrays(small().double())
