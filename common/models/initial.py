"""Fine-tuning: which tensors of a model are trained, and its initial weights from a file.

1. :func:`freeze`: parameters that the study does not train take no gradient
2. :func:`load_initial`: the file's tensors, each of which the model must have in its shape; those under
   ``model.fresh`` keep the values that were drawn
3. :func:`training_mode`: a frozen batch normalisation keeps its running statistics, and uses them

What is frozen is not in the vector that travels (:meth:`wardround.common.study.ModelChoice.travels`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm

from wardround.common.errors import WardroundError
from wardround.common.models.state import load_state_arrays, state_arrays
from wardround.common.study.model import begins
from wardround.common.weights import tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from wardround.common.study import ModelChoice

    State = dict[str, NDArray[np.float32]]


def freeze(module: nn.Module, choice: ModelChoice) -> None:
    """Step 1.

    Raises:
        WardroundError: WR-1210, a prefix begins no parameter's name, or nothing is left to train.
    """
    names = [name for name, _ in module.named_parameters()]
    for field, prefixes in (("trained", choice.trained or ()), ("fresh", choice.fresh)):
        for prefix in prefixes:
            if not any(begins(name, [prefix]) for name in names):
                raise WardroundError(
                    "WR-1210", f"model.{field} names {prefix!r}; the model's parts are {', '.join(_parts(names))}."
                )
    for name, parameter in module.named_parameters():
        if not choice.travels(name):
            parameter.requires_grad = False
    if choice.freezes and not trained_parameters(module):
        raise WardroundError("WR-1210", "Of what model.trained names nothing can be trained.")


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that take a gradient, by name, in the model's order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def load_initial(module: nn.Module, choice: ModelChoice, content: bytes) -> None:
    """Step 2, in place.

    Args:
        module: As the study's model is built, with drawn weights.
        choice: Of the study.
        content: Of the file, whose hash was checked.

    Raises:
        WardroundError: WR-1208, it is no file of weights; WR-1209, they are not this model's. Nothing was loaded then.
    """
    drawn = state_arrays(module)
    stored = tensors(content, lambda name: not choice.is_fresh(name))
    _check_fit(stored, {name: array for name, array in drawn.items() if not choice.is_fresh(name)})
    load_state_arrays(module, {name: stored.get(name, array) for name, array in drawn.items()})


def frozen_arrays(module: nn.Module, choice: ModelChoice) -> State:
    """Copies of what does not travel, by name."""
    return {name: array for name, array in state_arrays(module).items() if not choice.travels(name)}


def training_mode(module: nn.Module, choice: ModelChoice) -> None:
    """Step 3: put the model into training mode, but no batch normalisation that is frozen."""
    module.train()
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and not choice.travels(f"{name}.running_mean".removeprefix(".")):
            part.eval()


def _check_fit(stored: Mapping[str, NDArray[np.float32]], wanted: Mapping[str, NDArray[np.float32]]) -> None:
    lacks, has = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if lacks:
        raise WardroundError("WR-1209", f"The file lacks {_some(lacks)} of the model.")
    if has:
        raise WardroundError("WR-1209", f"The file holds {_some(has)}, which the model does not have.")
    for name, array in wanted.items():
        if stored[name].shape != array.shape:
            raise WardroundError("WR-1209", f"{name} is {stored[name].shape} in the file, {array.shape} in the model.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _parts(names: list[str]) -> list[str]:
    """What may be named: of a name with three parts or more the first two, else all that is before the last dot."""
    return list(dict.fromkeys(".".join(name.split(".")[: max(1, min(2, name.count(".")))]) for name in names))[:40]
