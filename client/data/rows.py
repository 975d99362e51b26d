"""One row of the table to one sample, or to the list of what is wrong with it."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.client.data.manifest import ColumnTarget, SegmentationTarget
from wardround.client.data.paths import LeavesRootError, inside_folder
from wardround.client.data.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.client.data.manifest import Manifest, Tabular
    from wardround.client.data.table import Row


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the table.

    Attributes:
        row: Row number as a person sees it (header = 1); what errors name.
        patient: The raw identifier; it stays in this process and in the site's files.
        channels: Absolute paths in the manifest's order.
        mask: Absolute path; None for classification.
        targets: Per label 0 or 1; empty for segmentation. Binary has one, multiclass is one-hot.
        tabular: Values in the manifest's order; None where the cell is empty.
        spacing_mm: Pixel size (rows, columns) from the manifest; None where it has none.
    """

    row: int
    patient: str
    channels: tuple[Path, ...]
    mask: Path | None
    targets: tuple[int, ...]
    tabular: tuple[float | str | None, ...]
    spacing_mm: tuple[float, ...] | None


def parse_row(
    row: Row, manifest: Manifest, labels: Sequence[str], root: Path, images_root: Path
) -> Sample | list[Problem]:
    """Read one row.

    Args:
        row: The row.
        manifest: What its columns mean.
        labels: Order of the targets.
        root: The resolved data folder that no path may leave.
        images_root: Where image paths start.

    Returns:
        The sample, or every problem of the row.
    """
    reader = _RowReader(row, manifest, root, images_root)
    sample = Sample(
        row=row.number,
        patient=reader.patient(),
        channels=tuple(reader.path(channel.column) for channel in manifest.channels),
        mask=reader.path(manifest.target.column) if isinstance(manifest.target, SegmentationTarget) else None,
        targets=reader.targets(labels),
        tabular=tuple(reader.tabular(column) for column in manifest.tabular),
        spacing_mm=reader.spacing(),
    )
    return reader.problems or sample


class _RowReader:
    """Reads the fields of one row; a wrong field adds a problem and gives a stand-in that is not used."""

    def __init__(self, row: Row, manifest: Manifest, root: Path, images_root: Path) -> None:
        self.row = row
        self.manifest = manifest
        self.root = root
        self.images_root = images_root
        self.problems: list[Problem] = []

    def _add(self, column: str, code: str, reason: str) -> None:
        self.problems.append(Problem(self.row.number, column, code, reason, self.row.values[column]))

    def patient(self) -> str:
        column = self.manifest.patient.column
        patient = self.row.values[column]
        if patient.strip() != patient or not patient:
            self._add(column, "WR-1115", "has an empty patient identifier, or one with spaces around it")
        elif _looks_like_another(patient):
            self._add(column, "WR-1115", "has a patient identifier with invisible or decomposed characters")
        return patient

    def path(self, column: str) -> Path:
        text = self.row.values[column]
        if not text:
            self._add(column, "WR-1115", "has an empty path")
            return self.images_root
        try:
            return inside_folder(self.root, self.images_root, text)
        except LeavesRootError as error:
            self._add(column, "WR-1108", str(error))
        except OSError:
            self._add(column, "WR-1107", "has a path that cannot be followed")
        return self.images_root

    def targets(self, labels: Sequence[str]) -> tuple[int, ...]:
        target = self.manifest.target
        if isinstance(target, SegmentationTarget):
            return ()
        if isinstance(target, ColumnTarget):
            name = target.classes.get(self.row.values[target.column])
            if name is None:
                self._add(target.column, "WR-1110", "has a value that is not among target.classes")
            return tuple(int(name == label) for label in labels)
        return tuple(self._finding(target.findings[label], target.positive, target.negative) for label in labels)

    def _finding(self, column: str, positive: Sequence[str], negative: Sequence[str]) -> int:
        value = self.row.values[column]
        if value not in positive and value not in negative:
            self._add(column, "WR-1110", "has a value that is neither positive nor negative")
        return int(value in positive)

    def tabular(self, column: Tabular) -> float | str | None:
        text = self.row.values[column.column]
        if text == "":
            return None
        if column.type == "number":
            return self._number(column.column, text)
        if text not in column.categories:
            self._add(column.column, "WR-1115", "has a value that is not among the categories")
        return text

    def spacing(self) -> tuple[float, ...] | None:
        spacing = self.manifest.spacing
        if spacing is None:
            return None
        if spacing.mm is not None:
            return spacing.mm
        column = spacing.column or ""
        size = self._number(column, self.row.values[column])
        if not size > 0:
            self._add(column, "WR-1115", "has a pixel size that is not above 0")
        return (size, size)

    def _number(self, column: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self._add(column, "WR-1115", "is not a finite number")
            return 1.0
        return number


def _looks_like_another(identifier: str) -> bool:
    """Whether one person may stand in the table under two spellings that look the same, and so in two parts."""
    invisible = any(unicodedata.category(character) in ("Cc", "Cf") for character in identifier)
    return invisible or not unicodedata.is_normalized("NFC", identifier)
