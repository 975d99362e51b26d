"""What every typed message between coordinator and hospital is made of."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from wardround.common.ids import SiteId, StudyId, StudyRunId

REFUSED: Final = 1300
"""Flower error code of a refusal; the reason starts with the ``WR`` code."""

Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-3.5e38, le=3.5e38, allow_inf_nan=False)]
"""A number in the range of float32, so that sums over many sites stay finite in float64."""


class WireMessage(BaseModel):
    """A message: frozen, strict about types, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SiteReply(WireMessage):
    """A reply that says which site it comes from."""

    site: SiteId


class RunContext(WireMessage):
    """What every instruction of a study run says about itself.

    Attributes:
        study: The study's hash; the hospital acts only on studies that it approved.
        run: wardround's own id of the study run.
        seed: Seed of model initialisation and sample order. Never of privacy noise.
        fold: Which fold is the test part, 0 to folds - 1; 0 when there is one.
        folds: Number of folds; 1 means the study's own split.
    """

    study: Annotated[StudyId, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    run: Annotated[StudyRunId, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    seed: Count
    fold: Count = 0
    folds: Annotated[int, Field(ge=1, le=100)] = 1
