"""A model's state as named float32 arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

    Names = Callable[[str], bool]


def everything(_name: str) -> bool:
    """Every tensor of a model."""
    return True


def state_arrays(model: nn.Module, names: Names = everything) -> dict[str, NDArray[np.float32]]:
    """Float parameters and float buffers of a model, in ``state_dict`` order.

    Integer buffers (``num_batches_tracked`` of batch normalisation) stay behind: they do not take
    part in the forward pass.

    Args:
        model: Of the catalogue.
        names: Which of them; :meth:`wardround.common.study.ModelChoice.travels` gives those that travel.

    Returns:
        C-contiguous float32 copies, independent of the model.

    Raises:
        TypeError: The model holds floats that are not float32.
    """
    return {
        name: np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
        for name, tensor in _floats(model, names)
    }


def load_state_arrays(model: nn.Module, arrays: Mapping[str, NDArray[np.float32]], names: Names = everything) -> None:
    """Copy ``arrays`` into the model, in place, on whatever device it is; they are what ``names`` gives, all of it.

    Raises:
        WardroundError: WR-1205, a name is missing or unknown, or a shape or data type differs.
            Nothing was copied then.
    """
    tensors = dict(_floats(model, names))
    if tensors.keys() != arrays.keys():
        differing = ", ".join(sorted(tensors.keys() ^ arrays.keys())[:5])
        raise WardroundError("WR-1205", f"The state's names differ from the model's, for example {differing}.")
    for name, tensor in tensors.items():
        array = arrays[name]
        if array.shape != tuple(tensor.shape) or array.dtype != np.float32:
            found, wanted = f"{array.dtype} {array.shape}", f"float32 {tuple(tensor.shape)}"
            raise WardroundError("WR-1205", f"The state's {name} is {found} and the model's is {wanted}.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            _put(tensor, arrays[name])


def read_state(model: nn.Module, into: Mapping[str, NDArray[np.float32]], names: Names = everything) -> None:
    """Copy what :func:`state_arrays` would give into arrays that are already there, without a copy between.

    Raises:
        ValueError: The names differ from the model's, or a shape does.
    """
    tensors = dict(_floats(model, names))
    if tensors.keys() != into.keys():
        raise ValueError("the arrays are not those of this model")
    for name, tensor in tensors.items():
        found = tensor.detach().cpu().numpy()
        if found.shape != into[name].shape:
            raise ValueError(f"{name} has another shape")
        np.copyto(into[name], found)


def _put(tensor: torch.Tensor, array: NDArray[np.float32]) -> None:
    """Copy an array into a tensor; the array may be read-only, which torch would warn about."""
    if tensor.device.type == "cpu":
        np.copyto(tensor.detach().numpy(), array)
    else:
        tensor.copy_(torch.from_numpy(array if array.flags.writeable else array.copy()))


def _floats(model: nn.Module, names: Names) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not names(name):
            continue
        if tensor.dtype == torch.float32:
            yield name, tensor
        elif tensor.is_floating_point():
            raise TypeError(f"{name} is {tensor.dtype}; models of the catalogue are float32")
