"""Where virtual hospitals get their patients from: a table of real images on disk."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, model_validator

from wardround.client.data.manifest import (
    Channel,
    Column,
    Manifest,
    Modality,
    Patient,
    Raw,
    Spacing,
    Table,
    Tabular,
    Target,
)
from wardround.common.study import Section

Where = dict[Column, Raw | tuple[Raw, ...]]
"""Columns of a table and the value, or values, that a row must have there."""


class SourceTable(Section):
    """The table all virtual hospitals are cut from.

    Attributes:
        file: Its path below the data root, in a folder of its own: ``cxr/labels.csv``. Image paths
            start from that folder.
        separator: Between the fields of a CSV file.
    """

    file: str
    separator: Literal[",", ";", "\t"] = ","

    @model_validator(mode="after")
    def _below_the_root(self) -> Self:
        path = PurePosixPath(self.file)
        if path.is_absolute() or ".." in path.parts or "\\" in self.file:
            raise ValueError("file must lie below the data root")
        return self


class Source(Section):
    """The ``[simulation.source]`` table: a site manifest without name and ``table.where``.

    The sections are those of a site manifest (``deploy/docs/data.md``).

    Attributes:
        modality: DICOM modality of the images.
        table: The table all hospitals are cut from.
        patient: The column that names patients.
        channels: The images of a sample, in order.
        target: What is to be predicted.
        spacing: Pixel size, for PNG.
        tabular: Typed columns beside the images.
    """

    modality: Modality
    table: SourceTable
    patient: Patient
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=16)
    target: Target
    spacing: Spacing | None = None
    tabular: tuple[Tabular, ...] = ()

    @model_validator(mode="after")
    def _makes_a_manifest(self) -> Self:
        self.manifest("site", {})
        return self

    @property
    def folder(self) -> PurePosixPath:
        """The folder of the table below the data root."""
        return PurePosixPath(self.table.file).parent

    def manifest(self, name: str, where: Where) -> Manifest:
        """The manifest of the hospital whose rows match ``where``, relative to :attr:`folder`."""
        return Manifest(
            schema=1,
            name=name,
            modality=self.modality,
            table=Table(file=PurePosixPath(self.table.file).name, separator=self.table.separator, where=where),
            patient=self.patient,
            channels=self.channels,
            target=self.target,
            spacing=self.spacing,
            tabular=self.tabular,
        )
