"""The site manifest: how one hospital's table and images map to a study's channels and labels.

A manifest is a small TOML file that stays at the site. It names the table (CSV or Parquet), the
columns that hold patients, image paths and targets, and what the raw values mean. A sample is an
ordered list of named channels plus optional typed tabular columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from wardround.common.errors import WardroundError
from wardround.common.study import RESERVED, LabelName, Name, Positive, Section, parse_toml, validated

if TYPE_CHECKING:
    from pathlib import Path

Column = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""The name of a column of the table, as its header spells it."""

Raw = Annotated[str, StringConstraints(max_length=256)]
"""A value as the table spells it, or the whole number of a mask, as text."""

ClassName = Literal[""] | LabelName
"""A label of the study; the empty name is background or negative."""

ImageFormat = Literal["png", "nifti"]

Modality = Literal[
    "CR", "CT", "DX", "ES", "GM", "IO", "MG", "MR", "NM", "OCT",
    "OP", "OPT", "OT", "PT", "PX", "RF", "SM", "US", "XA", "XC",
]  # fmt: skip
"""DICOM modality (PS3.3 C.7.3.1.1.1), the image-producing ones."""

DIMENSIONS = {"png": 2, "nifti": 3}
"""Spatial dimensions of the images of each format."""


class Table(Section):
    """Where the rows are.

    Attributes:
        file: ``.csv`` (UTF-8, with a header) or ``.parquet``, relative to the data folder.
        separator: Between the fields of a CSV file.
        where: Keep the rows whose columns equal these values, or one of these values.
        images_root: Folder, relative to the data folder, that image paths start from; the
            table's own folder when not given.
    """

    file: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    separator: Literal[",", ";", "\t"] = ","
    where: dict[Column, Raw | tuple[Raw, ...]] = Field(default_factory=dict)
    images_root: str | None = None

    @model_validator(mode="after")
    def _known_type(self) -> Self:
        if not self.file.lower().endswith((".csv", ".parquet")):
            raise ValueError("file must end in .csv or .parquet")
        return self


class Patient(Section):
    """Who the image is of.

    Attributes:
        column: The column with the patient's identifier; one person, one value.
    """

    column: Column


class Channel(Section):
    """One image of a sample: a named channel.

    Attributes:
        name: As the study calls it.
        column: Column with the path of the image.
        format: File format.
        units: What the numbers are; recorded, not converted.
    """

    name: Name
    column: Column
    format: ImageFormat
    units: Literal["arbitrary", "HU", "SUV", "normalised"] = "arbitrary"


class SegmentationTarget(Section):
    """A mask per sample.

    Attributes:
        kind: A mask says for each voxel what it belongs to.
        column: Column with the path of the mask.
        format: File format, the same as that of the images.
        classes: Whole number in the mask to label. 0 is background. Several numbers may map to one
            label, and any number to the empty name, which is background too.
    """

    kind: Literal["segmentation"]
    column: Column
    format: ImageFormat
    classes: dict[Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})$")], ClassName]

    @model_validator(mode="after")
    def _background(self) -> Self:
        if self.classes.get("0", "") != "":
            raise ValueError('mask value 0 is background; its class name can only be ""')
        _some_label(self.labels)
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order in which the manifest first names them."""
        return tuple(dict.fromkeys(name for name in self.classes.values() if name))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the target needs."""
        return (self.column,)


class ColumnTarget(Section):
    """One column holds the class.

    Attributes:
        kind: ``binary``: one label, present or not; ``multiclass``: exactly one of several labels.
        column: Column with the class.
        classes: Value of the column to label. In a binary target the empty name is negative.
    """

    kind: Literal["binary", "multiclass"]
    column: Column
    classes: dict[Raw, ClassName]

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        if self.kind == "binary" and len(self.labels) != 1:
            raise ValueError('a binary target has exactly one label; negatives have the empty name ""')
        if self.kind == "multiclass" and "" in self.classes.values():
            raise ValueError("every class of a multiclass target needs a name")
        _some_label(self.labels)
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order in which the manifest first names them."""
        return tuple(dict.fromkeys(name for name in self.classes.values() if name))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the target needs."""
        return (self.column,)


class MultilabelTarget(Section):
    """One column per label, each positive or negative by itself.

    Attributes:
        kind: Any number of the labels may be present.
        findings: Label to the column that says whether it is present.
        positive: Values that mean present.
        negative: Values that mean absent.
    """

    kind: Literal["multilabel"]
    findings: dict[LabelName, Column] = Field(min_length=1)
    positive: tuple[Raw, ...] = ("1",)
    negative: tuple[Raw, ...] = ("0",)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if set(self.positive) & set(self.negative):
            raise ValueError("a value is both positive and negative")
        if len(set(self.findings.values())) != len(self.findings):
            raise ValueError("two findings share a column")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the manifest."""
        return tuple(self.findings)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the target needs."""
        return tuple(self.findings.values())


Target = Annotated[SegmentationTarget | ColumnTarget | MultilabelTarget, Field(discriminator="kind")]


class Spacing(Section):
    """Size of a pixel in mm, for formats that carry none.

    Attributes:
        column: Column with one number for both axes.
        mm: Instead of a column: the same size for every image, in the order rows, columns.
    """

    column: Column | None = None
    mm: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.column is None) == (self.mm is None):
            raise ValueError("give either column or mm")
        return self


class Tabular(Section):
    """A typed column beside the images; empty cells are missing values.

    Attributes:
        name: As the study calls it.
        column: Column of the table.
        type: ``number`` (finite) or ``category`` (one of ``categories``).
        units: Unit of a number, for example ``years``.
        categories: The values that a category may have.
    """

    name: Name
    column: Column
    type: Literal["number", "category"]
    units: str | None = None
    categories: tuple[Raw, ...] = ()

    @model_validator(mode="after")
    def _typed(self) -> Self:
        if (self.type == "category") != bool(self.categories):
            raise ValueError("categories are needed for type category, and only there")
        return self


class Manifest(Section):
    """One hospital's data set, as declared by the hospital.

    Attributes:
        schema_: Version of this format.
        name: Of the data set.
        modality: DICOM modality of the images.
        table: Where the rows are.
        patient: Who each image is of.
        channels: The images of a sample, in order.
        target: What is known about each sample.
        spacing: Pixel size, for PNG.
        tabular: Typed columns beside the images.
    """

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    modality: Modality
    table: Table
    patient: Patient
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=16)
    target: Target
    spacing: Spacing | None = None
    tabular: tuple[Tabular, ...] = Field(default=(), max_length=256)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"name must not be one of {', '.join(sorted(RESERVED))}")
        for field, names in (
            ("channels", [channel.name for channel in self.channels]),
            ("tabular", [column.name for column in self.tabular]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{field} names something twice")
        formats = {channel.format for channel in self.channels}
        if isinstance(self.target, SegmentationTarget):
            formats.add(self.target.format)
        if len(formats) > 1:
            raise ValueError("channels and masks of one manifest share one format")
        if self.spacing is not None and "nifti" in formats:
            raise ValueError("spacing is only for formats without it; NIfTI files carry their own")
        return self

    @property
    def dimensions(self) -> int:
        """2 for images, 3 for volumes."""
        return DIMENSIONS[self.channels[0].format]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the manifest names, once each."""
        spacing = [self.spacing.column] if self.spacing is not None and self.spacing.column is not None else []
        named = [self.patient.column, *(channel.column for channel in self.channels), *self.target.columns, *spacing]
        return tuple(dict.fromkeys([*self.table.where, *named, *(column.column for column in self.tabular)]))


def load_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        WardroundError: WR-1101, the file cannot be read as TOML; WR-1102, a field is wrong.
    """
    if path.is_dir():
        fix = f"Name the manifest itself: {path.name}/manifest.toml, if that is its name."
        raise WardroundError("WR-1101", f"{path.name!r} is a folder, and no manifest.", fix=fix)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise WardroundError("WR-1101", f"The manifest {path.name!r} cannot be read: {reason}.") from error
    try:
        fields = parse_toml(text)
    except WardroundError as error:
        raise WardroundError("WR-1101", f"The manifest {path.name!r}: {error.what}") from error
    return validated(Manifest, fields, "WR-1102", f"The manifest {path.name!r}")


def _some_label(labels: tuple[str, ...]) -> None:
    if not labels:
        raise ValueError("classes names no label")
