"""The study: all sections together, its canonical form and its id."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId
from wardround.common.study.aggregation import Aggregation, SecureAggregation
from wardround.common.study.fields import RESERVED, Name, Section
from wardround.common.study.model import ModelChoice
from wardround.common.study.privacy import Privacy
from wardround.common.study.sections import Evaluation, Input, Selection, Split, Task, Training


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
        privacy: What is promised to patients; None: no differential privacy.
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
    # Left out of the canonical form where there is none: studies without it keep their id.
    privacy: Privacy | None = Field(default=None, exclude_if=lambda privacy: privacy is None)
    aggregation: Aggregation = Field(default=Aggregation(), validate_default=True)
    selection: Selection = Selection()
    split: Split = Field(default=Split(), validate_default=True)
    evaluation: Evaluation = Evaluation()

    @field_validator("privacy")
    @classmethod
    def _calibrated(cls, privacy: Privacy | None, info: ValidationInfo) -> Privacy | None:
        """Fill in the noise that keeps the promise, so that hospitals approve it with the rest."""
        sites, training = info.data.get("sites"), info.data.get("training")  # absent when they are themselves refused
        if privacy is None or sites is None or training is None:
            return privacy
        privacy.check_sites(len(sites))
        return privacy.resolved(training.rounds)

    @field_validator("aggregation")
    @classmethod
    def _settled(cls, aggregation: Aggregation, info: ValidationInfo) -> Aggregation:
        """Fill in what follows from the number of sites, so that hospitals approve it with the rest."""
        if "sites" not in info.data or "privacy" not in info.data:  # they are themselves refused
            return aggregation
        sites, privacy = info.data["sites"], info.data["privacy"]
        if privacy is None or privacy.trust == "local":
            return aggregation.for_sites(len(sites))
        if aggregation.mode == "open":
            raise WardroundError(
                "WR-1805", "privacy.trust 'distributed' needs aggregation.mode 'private', where noise adds up."
            )
        return aggregation.for_noise(len(sites))

    @field_validator("split")
    @classmethod
    def _independent(cls, split: Split, info: ValidationInfo) -> Split:
        """Where one patient's part depended on others, a patient more would change whom the noise has to cover."""
        return split if info.data.get("privacy") is None else split.model_copy(update={"independent": True})

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
        if self.privacy is not None:
            self._nothing_unpaid()
        self.canonical()
        return self

    def _nothing_unpaid(self) -> None:
        """Refuse what would use or tell something of the patients that the noise does not cover."""
        for found, wrong, words in (
            (self.aggregation.weights, ("patients",), "aggregation.weights 'patients' tells counts; set 'equal'"),
            (self.selection.rule, ("validation",), "selection.rule 'validation' reads validation patients; set 'ema'"),
            (self.training.class_weight, ("inverse_frequency",), "training.class_weight counts classes; set 'none'"),
        ):
            if found in wrong:
                raise WardroundError("WR-1805", f"Under [privacy], {words}.")
        self.model.check_promise()
        if self.promise.validation is not None and self.split.validation == 0:
            raise ValueError("privacy.validation needs split.validation above 0")

    @property
    def distributed(self) -> bool:
        """Whether hospitals' noise adds up inside the secure sum."""
        return self.privacy is not None and self.privacy.trust == "distributed"

    @property
    def validates(self) -> bool:
        """Whether models are scored on validation patients while the study runs, without noise."""
        return self.split.validation > 0 and self.privacy is None

    @property
    def promise(self) -> Privacy:
        """What is promised to patients.

        Raises:
            RuntimeError: The study has no differential privacy.
        """
        if self.privacy is None:
            raise RuntimeError("this study has no differential privacy")
        return self.privacy

    @property
    def validation_patients(self) -> float:
        """Validation patients of all sites together, a public number: from the promise's patients and the split."""
        training = 1 - self.split.validation - self.split.test
        return self.promise.patients * self.split.validation / training

    def paid_validation(self, number: int) -> int | None:
        """Which paid validation round ``number`` begins with, from 1; None for none."""
        paid = None if self.privacy is None else self.privacy.validation
        return None if paid is None else paid.place(number, self.training.rounds)

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
