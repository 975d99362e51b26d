"""What the sections of a study are made of: names, ranges, and a frozen model without unknown fields."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""A name that is safe in file names, tables and messages."""

RESERVED: Final = frozenset({"mean", "worst", "spread", "all", "model", "federated", "centralised"})
"""Names of summary rows and arms; no site or label may be called so."""

LabelName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f,|\"]+$")]
"""A class as people read it; any script, no separators of the tables it appears in."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of a study: frozen, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
