"""The study: all sections together, its canonical form and its id."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from wardround.common.ids import SiteId, StudyId
from wardround.common.study.aggregation import Aggregation, SecureAggregation
from wardround.common.study.fields import RESERVED, Name, Section
from wardround.common.study.sections import Evaluation, Input, ModelChoice, Selection, Split, Task, Training


class Study(Section):
    """The whole plan. Its id is the hash of everything in it.

    Attributes:
        schema: Version of this format.
        name: Short name, used in file names.
        title: One line for people.
        claim: What the study sets out to show.
        limits: What its data cannot show; printed in the report.
        sites: The hospitals that train.
        task: What is predicted, from what.
        input: How an image becomes the model's input.
        model: The model.
        training: The work of every arm.
        aggregation: How updates are combined.
        selection: Which model is reported.
        split: Training, validation and test patients.
        evaluation: How models are scored.
    """

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    claim: Annotated[str, StringConstraints(max_length=2000)] = ""
    limits: Annotated[str, StringConstraints(max_length=2000)] = ""
    sites: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    task: Task
    input: Input
    model: ModelChoice
    training: Training
    aggregation: Aggregation = Aggregation()
    selection: Selection = Selection()
    split: Split = Split()
    evaluation: Evaluation = Evaluation()

    @field_validator("aggregation")
    @classmethod
    def _settled(cls, aggregation: Aggregation, info: ValidationInfo) -> Aggregation:
        """Fill in what follows from the number of sites, so that hospitals approve it with the rest."""
        sites = info.data.get("sites")  # absent when they are themselves refused
        return aggregation if sites is None else aggregation.for_sites(len(sites))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.sites)) != len(self.sites):
            raise ValueError("sites names a site twice")
        if RESERVED & set(self.sites):
            raise ValueError(f"no site may be called {', '.join(sorted(RESERVED))}")
        if len(self.input.size) != self.task.dimensions:
            raise ValueError(f"input.size needs {self.task.dimensions} numbers for a {self.task.dimensions}D task")
        spacing = self.input.spacing_mm
        if spacing is not None and len(spacing) != self.task.dimensions:
            raise ValueError(f"input.spacing_mm needs {self.task.dimensions} numbers")
        wanted = _LOSSES[self.task.target or self.task.kind]
        if self.training.loss not in wanted:
            raise ValueError(f"training.loss {self.training.loss!r} does not fit the task; use {' or '.join(wanted)}")
        if self.selection.rule == "validation" and self.split.validation == 0:
            raise ValueError("selection.rule 'validation' needs split.validation above 0")
        if self.aggregation.min_sites > len(self.sites):
            raise ValueError("aggregation.min_sites is larger than the number of sites")
        self.canonical()
        return self

    @property
    def site_ids(self) -> tuple[SiteId, ...]:
        """The training sites, in the study's order."""
        return tuple(SiteId(site) for site in self.sites)

    @property
    def private(self) -> bool:
        """Whether the coordinator learns only the sum of the sites' updates."""
        return self.aggregation.mode == "private"

    @property
    def secure(self) -> SecureAggregation:
        """The settings of a private study's secure sum.

        Raises:
            RuntimeError: The study is not private.
        """
        if not self.private or self.aggregation.secure is None:
            raise RuntimeError("only a private study has a secure sum")
        return self.aggregation.secure

    @property
    def colluding(self) -> int:
        """k, the number of sites that may collude with the coordinator of a private study."""
        if (colluding := self.secure.colluding) is None:
            raise RuntimeError("a private study was built without k")
        return colluding

    @property
    def ring_bits(self) -> Literal[16, 32]:
        """Bits of a value in the secure sum of a private study."""
        if (bits := self.secure.ring_bits) is None:
            raise RuntimeError("a private study was built without a ring")
        return bits

    def canonical(self) -> bytes:
        """RFC 8785 canonical JSON of the study (UTF-8).

        Raises:
            ValueError: A number is not finite or beyond 2^53, which JSON cannot hold exactly.
        """
        try:
            return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))
        except rfc8785.CanonicalizationError as error:
            raise ValueError(f"the study has no canonical form: {error}") from error

    @property
    def id(self) -> StudyId:
        """``sha256:`` and the hex digest of :meth:`canonical`."""
        return StudyId("sha256:" + hashlib.sha256(self.canonical()).hexdigest())


_LOSSES: dict[str, tuple[str, ...]] = {
    "binary": ("bce",),
    "multilabel": ("bce",),
    "multiclass": ("cross_entropy",),
    "segmentation": ("dice_ce", "cross_entropy"),
}
