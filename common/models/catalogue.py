"""The closed catalogue: which models a study may name, and how one is built.

A study names a model and its typed parameters; it never carries code. A hospital extends the
catalogue only by installing a package that announces a :class:`ModelEntry` under the entry point
group ``wardround.models``; the entry point's name is the model's name.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import torch

from wardround.common.errors import WardroundError
from wardround.common.models.classifiers import DENSENET121, RESNET18
from wardround.common.models.conversions import ready_for_privacy
from wardround.common.models.entry import ModelEntry
from wardround.common.models.initial import freeze, load_initial
from wardround.common.models.scattering import SCATTERING
from wardround.common.models.small_cnn import SMALL_CNN
from wardround.common.models.unet import UNET
from wardround.common.models.voxelwise import VOXELWISE
from wardround.common.study import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

    from torch import nn

    from wardround.common.study import Study

GROUP: Final = "wardround.models"

BUILT_IN: Final[Mapping[str, ModelEntry]] = {
    entry.name: entry for entry in (UNET, DENSENET121, RESNET18, SMALL_CNN, SCATTERING, VOXELWISE)
}


def build_model(study: Study, *, seed: int) -> nn.Module:
    """Build the study's model with freshly drawn weights.

    For a study with differential privacy the module is converted so that one gradient for each patient exists
    (:mod:`wardround.common.models.conversions`). What the study does not train takes no gradient, but all weights are
    drawn: :func:`initial_model` is the one to compute with. The weights depend on ``seed`` alone; the state of
    PyTorch's global generator is left as it was.

    Args:
        study: Names the model, its parameters, and the task and input it must fit.
        seed: Seed of the initial weights.

    Returns:
        The module in training mode, float32, on the CPU.

    Raises:
        WardroundError: WR-1201, no such model; WR-1202, its parameters are wrong or it does not
            fit the task or input; WR-1207, an installed model cannot be used; WR-1210, a part to train does not exist.
    """
    entry = find_model(study.model.name)
    parameters = validated(entry.parameters, study.model.parameters, "WR-1202", "[model.parameters]")
    misfit = entry.misfit(study, parameters)
    if misfit is not None:
        raise WardroundError("WR-1202", f"Model {entry.name!r} does not fit the study: {misfit}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = entry.build(study, parameters)
        if study.privacy is not None:
            ready_for_privacy(module)
    freeze(module, study.model)
    return module


def initial_model(study: Study, *, seed: int, weights: Callable[[str], bytes]) -> nn.Module:
    """The study's model with the weights it begins with: drawn ones, or those of the file that the study names.

    Args:
        study: As for :func:`build_model`.
        seed: Of the weights that are drawn.
        weights: The content of a file by its SHA-256, checked; asked only if the study names one.

    Raises:
        WardroundError: As :func:`build_model`; WR-1208 or WR-1209, the file cannot be used or is another model's.
    """
    module = build_model(study, seed=seed)
    if study.model.init is not None:
        load_initial(module, study.model, weights(study.model.init))
    return module


def find_model(name: str) -> ModelEntry:
    """The entry of a model.

    Raises:
        WardroundError: WR-1201, unknown; WR-1207, an installed package's entry cannot be used.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    installed = installed_models(entry_points(group=GROUP))
    if name not in installed:
        known = ", ".join(sorted([*BUILT_IN, *installed]))
        raise WardroundError("WR-1201", f"There is no model {name!r}; known are {known}.")
    return installed[name]


def installed_models(points: Iterable[EntryPoint]) -> dict[str, ModelEntry]:
    """Load the models that installed packages announce.

    Raises:
        WardroundError: WR-1207, an entry cannot be imported, is no :class:`ModelEntry`, or takes
            a name that is in use.
    """
    found: dict[str, ModelEntry] = {}
    for point in points:
        entry = _load(point)
        if point.name in BUILT_IN or point.name in found:
            raise WardroundError("WR-1207", f"The entry point {point.value!r} takes the used name {point.name!r}.")
        found[point.name] = entry
    return found


def _load(point: EntryPoint) -> ModelEntry:
    try:
        entry = point.load()
    except (ImportError, AttributeError) as error:
        raise WardroundError("WR-1207", f"The entry point {point.value!r} cannot be imported.") from error
    if not isinstance(entry, ModelEntry) or entry.name != point.name:
        raise WardroundError("WR-1207", f"The entry point {point.value!r} is no model entry named {point.name!r}.")
    return entry
