"""What one model of the catalogue declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from wardround.common.study import Study


class Parameters(BaseModel):
    """Typed parameters of a model: frozen, and unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the catalogue.

    Attributes:
        name: The study's ``model.name``.
        summary: What it is, one line.
        parameters: The type that validates ``[model.parameters]``.
        misfit: Says why the model cannot do the study (one sentence), or None when it can.
        build: Makes the module; called inside a seeded generator. Takes ``[B, C, *size]`` float32
            and returns logits ``[B, outputs]`` (classification) or ``[B, outputs, *size]``
            (segmentation).
    """

    name: str
    summary: str
    parameters: type[Parameters]
    misfit: Callable[[Study, Parameters], str | None]
    build: Callable[[Study, Parameters], nn.Module]
