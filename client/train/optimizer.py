"""The local optimizer, and its state as numpy arrays keyed by parameter order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from wardround.common.study import Training


def make_optimizer(training: Training, parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """The study's optimizer in PyTorch's fused form: one pass over the parameters for each step.

    Args:
        training: Names the optimizer, its weight decay and momentum.
        parameters: Of the model, in its order.
        rate: Learning rate of this round.
    """
    decay = training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=True)


def export_state(optimizer: torch.optim.Optimizer) -> dict[str, NDArray[np.float32]]:
    """The optimizer's state as independent float32 arrays.

    Returns:
        Keys ``0003.exp_avg``: the place of the parameter in the model's order and the quantity
        (``step``, ``exp_avg``, ``exp_avg_sq`` for Adam and AdamW, ``momentum_buffer`` for SGD).
    """
    return {
        f"{place:04d}.{name}": np.array(value.detach().cpu().numpy(), dtype=np.float32, order="C")
        for place, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def import_state(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Give a fresh optimizer the state of an earlier round.

    Args:
        optimizer: As made for the same model.
        arrays: From :func:`export_state`; empty leaves the optimizer fresh.

    Raises:
        WardroundError: WR-1206, the arrays belong to another model or optimizer.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        place, _, name = key.partition(".")
        state.setdefault(int(place), {})[name] = torch.from_numpy(np.array(array, dtype=np.float32))
    wanted = _quantities(optimizer)
    if state and (sorted(state) != list(range(len(parameters))) or any(set(part) != wanted for part in state.values())):
        raise WardroundError("WR-1206", "The stored optimizer state has other entries than the study's optimizer.")
    for number, part in state.items():
        if any(value.ndim and value.shape != parameters[number].shape for value in part.values()):
            raise WardroundError("WR-1206", f"The stored optimizer state differs in shape at parameter {number}.")
        for name, value in part.items():
            part[name] = _arranged_like(parameters[number], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _arranged_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value`` as the parameter lies in memory: fused optimizers go through both in the order of memory."""
    return torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value) if value.ndim else value


def _quantities(optimizer: torch.optim.Optimizer) -> set[str]:
    if isinstance(optimizer, torch.optim.SGD):
        return {"momentum_buffer"}
    return {"step", "exp_avg", "exp_avg_sq"}
