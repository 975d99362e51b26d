"""The sections of a study that say what is learned: task, input, training, selection, split, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wardround.common.study.fields import RESERVED, Fraction, LabelName, Name, Positive, Section


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
        independent: Every patient's part follows from that patient alone, so that one patient more changes nobody
            else's; sizes and labels of the parts are then left to chance. Otherwise parts have exact sizes and the same
            labels. A study with a promise to patients is always split so.
    """

    validation: Fraction = 0.15
    test: Fraction = 0.25
    seed: Annotated[int, Field(ge=0)] = 0
    min_patients: Annotated[int, Field(ge=1)] = 2
    # Left out of the canonical form where it is not used: studies without it keep their id.
    independent: bool = Field(default=False, exclude_if=lambda independent: not independent)

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
