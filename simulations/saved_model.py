"""A saved model, ready to compute: every tensor from its folder, whatever of it was trained."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from wardround.common.models.catalogue import build_model
from wardround.common.models.state import load_state_arrays
from wardround.common.study import Study
from wardround.common.weights import tensors
from wardround.simulations.job import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

WEIGHTS = "model.safetensors"


def saved_module(folder: Path) -> tuple[Study, nn.Module]:
    """The study of a model folder, and its model.

    Raises:
        WardroundError: WR-1503, the folder is missing, incomplete or damaged; WR-1205, it is another model's.
    """
    study, *_ = load_model(folder)
    module = build_model(study, seed=0)
    load_state_arrays(module, tensors((folder / WEIGHTS).read_bytes()))
    return study, module


def for_scoring(study: Study, folder: Path) -> tuple[Study, bytes | None]:
    """A study whose frozen parts are taken from a saved model itself, and the file that it names.

    The saved model is complete, so that it can be scored where nobody has the file that its study began with.

    Returns:
        The study itself and None where nothing is frozen.
    """
    if not study.model.freezes:
        return study, None
    content = (folder / WEIGHTS).read_bytes()
    choice = study.model.model_dump() | {"init": hashlib.sha256(content).hexdigest()}
    choice.pop("fresh", None)
    return Study.model_validate(study.model_dump(by_alias=True) | {"model": choice}), content
