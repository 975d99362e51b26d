"""Which models can be trained with differential privacy, said before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import MultiheadAttention
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from wardround.client.train.per_sample.layers import LAYERS
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from torch import Tensor, nn


def check_model(model: nn.Module) -> None:
    """Refuse a model of which some gradient cannot be taken unit by unit.

    Frozen parameters (``requires_grad`` is False) are not trained, so their layers may be of any
    kind; batch normalisation is refused all the same, since its output mixes the units, and so is dropout, whose masks
    are drawn one after the other from one generator. What a
    model computes without parameters is not looked at here: see
    :func:`~wardround.client.train.per_sample.preflight.preflight`.

    Raises:
        WardroundError: WR-1804, batch normalisation; WR-1803, another layer that is not supported,
            or a parameter that two layers share.
    """
    for name, module in model.named_modules():
        reason = _refusal(module)
        if reason is not None:
            kind = type(module).__name__
            code = "WR-1804" if isinstance(module, _BatchNorm) else "WR-1803"
            raise WardroundError(code, f"{_called(name)} of type {kind} cannot be used: {reason}.")
    _check_shared(model)


def _refusal(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm):
        return "it normalises over the patients of a batch"
    if isinstance(module, _InstanceNorm) and module.track_running_stats:
        return "its running statistics would leave without noise"
    if _drops(module):
        return "what is dropped for a patient would depend on how many others came before"
    return _refusal_of_trained(module) if trained(module) else None


def _drops(module: nn.Module) -> bool:
    if isinstance(module, MultiheadAttention):
        return bool(module.dropout > 0)
    return isinstance(module, _DropoutNd) and module.p > 0


def _refusal_of_trained(module: nn.Module) -> str | None:
    layer = LAYERS.get(type(module))
    if layer is None:
        return "no per-sample gradient is known for this type of layer"
    unknown = sorted(trained(module).keys() - set(layer.parameters))
    if unknown:
        return f"it has a parameter {unknown[0]!r} that its type does not have"
    if "forward" in vars(module):
        return "its forward pass has been replaced"
    return layer.refusal(module)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters that a module owns itself, not through a submodule."""
    return {name: value for name, value in module.named_parameters(recurse=False) if value.requires_grad}


def _check_shared(model: nn.Module) -> None:
    seen: dict[object, str] = {}
    for name, module in model.named_modules():
        for local, parameter in trained(module).items():
            full = f"{name}.{local}".removeprefix(".")
            for key in _identities(parameter):
                if seen.setdefault(key, full) != full:
                    raise WardroundError("WR-1803", f"The layers share a weight: {seen[key]} and {full} are one.")


def _identities(parameter: Tensor) -> tuple[object, ...]:
    """The object, and the memory that it starts at, where it has any."""
    address = parameter.data_ptr() if parameter.numel() else 0
    return (id(parameter), ("memory", address)) if address else (id(parameter),)


def _called(name: str) -> str:
    return f"The layer {name}" if name else "The model itself"
