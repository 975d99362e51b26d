"""The study: one frozen, declarative plan that every hospital approves by its hash.

``study.toml`` is parsed into :class:`Study`, written as RFC 8785 canonical JSON and hashed with
SHA-256; that hash is the study's id. A study names models, losses, transforms and metrics from a
closed catalogue with typed parameters. It never carries code.

This module is pure: it takes text and returns a study. Reading files is its callers' work.
"""

from __future__ import annotations

import copy
import hashlib
import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

M = TypeVar("M", bound=BaseModel)

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


class Task(Section):
    """What is predicted, from what.

    Attributes:
        kind: ``segmentation`` predicts a mask, ``classification`` predicts labels of an image.
        target: For classification: ``binary`` (one label, 0/1), ``multiclass`` (exactly one of
            the labels) or ``multilabel`` (each label 0/1 by itself). None for segmentation, where
            each voxel belongs to the background or to exactly one label.
        labels: The names of the classes. Segmentation: the foreground structures, mask value
            1, 2, … in this order. Binary: the one positive label. Otherwise every class.
        dimensions: 2 for images, 3 for volumes.
        channels: The named channels a sample must have, in this order.
        tabular: Names of tabular columns that go into the model; empty when images alone do.
    """

    kind: Literal["classification", "segmentation"]
    target: Literal["binary", "multiclass", "multilabel"] | None = None
    labels: tuple[LabelName, ...] = Field(min_length=1, max_length=64)
    dimensions: Literal[2, 3]
    channels: tuple[Name, ...] = Field(default=("image",), min_length=1, max_length=16)
    tabular: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "classification" and self.target is None:
            raise ValueError("task.target is needed for classification: binary, multiclass or multilabel")
        if self.kind == "segmentation" and self.target is not None:
            raise ValueError("task.target is only for classification")
        if self.target == "binary" and len(self.labels) != 1:
            raise ValueError("a binary task has exactly one label, the positive one")
        if self.target == "multiclass" and len(self.labels) < 2:
            raise ValueError("a multiclass task has at least two labels")
        if RESERVED & set(self.labels):
            raise ValueError(f"task.labels must not be one of {', '.join(sorted(RESERVED))}")
        for field in ("labels", "channels", "tabular"):
            names = getattr(self, field)
            if len(set(names)) != len(names):
                raise ValueError(f"task.{field} names something twice")
        if self.tabular:
            raise ValueError("no model of the catalogue takes tabular columns yet; leave task.tabular out")
        return self

    @property
    def outputs(self) -> int:
        """Number of output channels or logits of the model: background counts in segmentation."""
        return len(self.labels) + 1 if self.kind == "segmentation" else len(self.labels)


class Input(Section):
    """How an image becomes the model's input, image by image, with no constant taken from the data.

    Attributes:
        size: Spatial size the model sees, voxels, in the order of the image's axes (rows, columns
            in 2D; the three voxel axes of the RAS-oriented volume in 3D).
        fit: ``resize`` scales every image to ``size``; ``pad`` keeps the voxel grid, centres the
            image and fills with its minimum: an image larger than ``size`` is refused, never cut.
        spacing_mm: Resample to this voxel spacing first (mm); None keeps the native grid.
        normalisation: Per image and channel: ``zscore`` (mean 0, standard deviation 1),
            ``minmax`` (0 to 1) or ``percentile`` (1st and 99th percentile to 0 and 1, clipped).
    """

    size: tuple[int, ...] = Field(min_length=2, max_length=3)
    fit: Literal["resize", "pad"] = "resize"
    spacing_mm: tuple[Positive, ...] | None = None
    normalisation: Literal["zscore", "minmax", "percentile"] = "zscore"

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if any(not 8 <= n <= 1024 for n in self.size):
            raise ValueError("input.size must lie between 8 and 1024 voxels in every axis")
        return self


class ModelChoice(Section):
    """A model of the catalogue with its typed parameters (``wardround.common.models``).

    Attributes:
        name: Which model; installed packages may add models under ``wardround.models``.
        parameters: The model's own, by name; those not given keep the model's defaults.
    """

    name: Name
    parameters: dict[str, bool | int | float | str | tuple[int, ...]] = Field(default_factory=dict)


class Training(Section):
    """The work of every arm.

    ``epochs`` is the whole budget: every arm sees ``epochs`` times the number of training images of
    all training sites together, spread evenly over the rounds, whichever sites it trains on.

    Attributes:
        rounds: Number of rounds.
        epochs: Passes over the pooled training images in the whole study.
        batch_size: Images a step.
        optimizer: Local optimizer; its state stays at the site.
        optimizer_state: ``keep`` carries it from round to round, ``reset`` starts each round afresh.
        learning_rate: At the first step.
        schedule: ``constant``, or ``cosine`` to zero over the rounds.
        weight_decay: Decoupled for adamw, L2 otherwise.
        momentum: For sgd.
        loss: ``bce`` (binary, multilabel), ``cross_entropy`` (multiclass, segmentation) or
            ``dice_ce`` (segmentation).
        class_weight: ``none``, or ``inverse_frequency`` of the site's own training images.
        augmentation: Named random transforms, applied in this order.
    """

    rounds: Annotated[int, Field(ge=1, le=10_000)]
    epochs: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    optimizer_state: Literal["keep", "reset"] = "keep"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    momentum: Fraction = 0.9
    loss: Literal["bce", "cross_entropy", "dice_ce"]
    class_weight: Literal["none", "inverse_frequency"] = "none"
    augmentation: tuple[Literal["flip_lr", "shift", "rotate", "scale", "intensity", "gamma", "noise"], ...] = ()


class Aggregation(Section):
    """How the sites' updates become one step of the global model.

    Attributes:
        mode: ``open``: the coordinator sees each site's update.
        algorithm: ``fedavg``: the weighted mean of the sites' updates is the step.
        weights: Of a site: its number of training ``patients``, or ``equal`` for all.
        server_learning_rate: Factor on that mean before it is added to the global model.
        min_sites: A round with fewer sites is not committed.
    """

    mode: Literal["open"] = "open"
    algorithm: Literal["fedavg"] = "fedavg"
    weights: Literal["patients", "equal"] = "patients"
    server_learning_rate: Positive = 1.0
    min_sites: Annotated[int, Field(ge=1)] = 1


class Selection(Section):
    """Which model is reported; never chosen on test patients.

    Attributes:
        rule: ``last`` round, ``ema`` (exponential moving average of the global model over rounds)
            or ``validation`` (the round with the lowest mean validation loss over sites).
        ema_decay: Weight of the past in the moving average.
    """

    rule: Literal["last", "ema", "validation"] = "validation"
    ema_decay: Fraction = 0.8


class Split(Section):
    """Patient-level split inside each site; images of one patient are never separated.

    Attributes:
        validation: Fraction of a site's patients for validation.
        test: Fraction of a site's patients for test; with k folds a fold takes its place.
        seed: Salt of the deterministic order of patients.
        min_patients: A training site with fewer patients in any part is refused.
    """

    validation: Fraction = 0.15
    test: Fraction = 0.25
    seed: Annotated[int, Field(ge=0)] = 0
    min_patients: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split.validation and split.test leave no patient for training")
        return self


class Evaluation(Section):
    """How models are scored.

    Attributes:
        threshold: Probability from which a label counts as predicted.
        surface_tolerance_mm: Tolerance of the surface Dice, mm.
        bootstrap: Resamples of patients for 95% intervals.
        intervals: False where there are too few patients for any interval to mean something.
        test_min_patients: No p-value below this number of patients.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    surface_tolerance_mm: Positive = 1.0
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 2000
    intervals: bool = True
    test_min_patients: Annotated[int, Field(ge=10)] = 10


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


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML text; a byte order mark, as Windows editors write one, is skipped.

    Raises:
        WardroundError: WR-1001, the text is not valid TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise WardroundError("WR-1001", f"The file is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise WardroundError("WR-1001", "The file nests values too deeply.") from error


def build_study(fields: Mapping[str, Any]) -> Study:
    """Validate the fields of a study.

    Raises:
        WardroundError: WR-1002, with every field that is wrong.
    """
    return validated(Study, fields, "WR-1002", "The study")


def validated(model: type[M], fields: Mapping[str, Any], code: str, what: str) -> M:
    """Validate ``fields`` as ``model``; every mistake is named in one error.

    Raises:
        WardroundError: ``code``, listing each wrong field with its place and reason.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        found = "; ".join(_mistake(item) for item in error.errors(include_url=False, include_input=False))
        raise WardroundError(code, f"{what} is not valid: {found}.") from None


def _mistake(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    reason = re.sub(r"^Value error, ", "", item["msg"])
    return f"{place}: {reason}" if place else reason


def with_settings(fields: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Apply ``--set section.field=value`` to the raw fields of a study; the value is TOML, else text.

    Raises:
        WardroundError: WR-1003, a setting has no ``=``, or its path runs through something that is
            not a section. Unknown fields are found when the study is built.
    """
    changed = copy.deepcopy(dict(fields))
    for setting in settings:
        path, separator, text = setting.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys):
            raise WardroundError("WR-1003", f"{setting!r} is not of the form key=value.")
        section = changed
        for key in keys[:-1]:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise WardroundError("WR-1003", f"{path!r} does not name a field: {key!r} is not a section.")
        section[keys[-1]] = _toml_value(text.strip())
    return changed


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
