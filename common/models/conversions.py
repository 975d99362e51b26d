"""What is changed in a model so that it can be trained with differential privacy.

Batch normalisation computes with the other patients of a batch, so one patient's influence cannot be
bounded; group normalisation (Wu and He, ECCV 2018) computes the same within each image. Activations
that overwrite their input are computed beside it instead, so that layers may keep their inputs.
Additions in place (``x += identity``) need no change.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wardround.common.models.norms import MAX_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator


def ready_for_privacy(module: nn.Module) -> tuple[str, ...]:
    """Convert a model in place; a model that needs nothing is left as it is.

    Batch normalisation of C channels becomes group normalisation with the same weights, in the
    largest number of groups that divides C and is at most 8; its running statistics are gone.
    Activations and dropout no longer work in place, which changes no value.

    Args:
        module: Freshly built, before any state is loaded.

    Returns:
        What was done, in words, each kind of change once with the number of layers, in the order in
        which each was first met; empty where nothing was.

    Raises:
        ValueError: The module itself is a batch normalisation, or one does not know its channels yet.
    """
    if isinstance(module, _BatchNorm):
        raise ValueError("a batch normalisation alone is no model")  # noqa: TRY004 - it is the right type of argument
    done = Counter((*_normalise_groups(module), *_compute_beside(module)))
    return tuple(f"{what} ({count} layer{'s' * (count > 1)})" for what, count in done.items())


def groups_for(channels: int) -> int:
    """The largest number of groups, at most 8, that divides the channels."""
    return max(groups for groups in range(1, MAX_GROUPS + 1) if channels % groups == 0)


def _normalise_groups(module: nn.Module) -> Iterator[str]:
    """Replace every batch normalisation; one that is used in two places stays one."""
    converted: dict[nn.Module, nn.GroupNorm] = {}
    for parent in tuple(module.modules()):
        for child in tuple(parent.children()):
            if isinstance(child, _BatchNorm) and child not in converted:
                converted[child] = _converted(child)
                groups = converted[child].num_groups
                yield f"{type(child).__name__} -> GroupNorm with {groups} group{'s' * (groups > 1)}"
    for parent in tuple(module.modules()):
        for name, used in tuple(parent._modules.items()):  # noqa: SLF001 - named_children leaves second names out
            if used in converted:
                setattr(parent, name, converted[used])


def _converted(layer: _BatchNorm) -> nn.GroupNorm:
    if layer.num_features < 1:
        raise ValueError("a batch normalisation does not know its number of channels yet")
    new = nn.GroupNorm(groups_for(layer.num_features), layer.num_features, eps=layer.eps, affine=layer.affine)
    with torch.no_grad():
        for name, before in layer.named_parameters():
            after = new.get_parameter(name)
            after.data = before.detach().clone()
            after.requires_grad_(before.requires_grad)
    return new.train(layer.training)


def _compute_beside(module: nn.Module) -> Iterator[str]:
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            child.inplace = False  # type: ignore[assignment]
            yield f"{type(child).__name__}: no longer in place"
