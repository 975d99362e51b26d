"""Reading the table of a manifest: every value as text, nothing guessed.

The first line is the header; a row's number is the one a person sees in a spreadsheet (the header
is row 1). CSV is read with the strict parser of the standard library, because a row with too few or
too many fields must be refused and not filled or cut.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.client.data.paths import LeavesRootError, inside
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wardround.client.data.manifest import Manifest

SEPARATORS = (",", ";", "\t")

MAX_TABLE_BYTES = 1 << 30
"""Tables larger than 1 GiB are refused."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number (header = 1) and its values as text, by column."""

    number: int
    values: Mapping[str, str]


def read_rows(manifest: Manifest, root: Path) -> tuple[list[Row], Path]:
    """Read the rows that ``table.where`` keeps, and the folder that image paths start from.

    Raises:
        WardroundError: WR-1103, unreadable; WR-1104, a column is missing; WR-1105, no rows left.
    """
    path = _inside(root, manifest.table.file, "table.file")
    folder = path.parent
    if manifest.table.images_root is not None:
        folder = _inside(root, manifest.table.images_root, "table.images_root")
    if not path.is_file():
        raise WardroundError("WR-1103", f"The table {manifest.table.file!r} is not a file below the data folder.")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise WardroundError("WR-1103", f"The table {manifest.table.file!r} is larger than 1 GiB.")
    if path.suffix.lower() == ".csv":
        header, rows = _read_csv(path, manifest.table.separator)
    else:
        header, rows = _read_parquet(path)
    _check_header(header, manifest)
    kept = [row for row in rows if _kept(row, manifest.table.where)]
    if not kept:
        raise WardroundError("WR-1105", f"The table has {len(rows)} rows, and table.where leaves none of them.")
    return kept, folder


def _inside(root: Path, text: str, field: str) -> Path:
    try:
        return inside(root, text)
    except LeavesRootError as error:
        raise WardroundError("WR-1103", f"{field} of the manifest {error}.") from error
    except OSError as error:
        raise WardroundError("WR-1103", f"{field} of the manifest cannot be opened: {error.strerror}.") from error


def _check_header(header: list[str], manifest: Manifest) -> None:
    if len(set(header)) != len(header):
        raise WardroundError("WR-1103", "The header of the table names a column twice.")
    missing = [column for column in manifest.columns if column not in header]
    if missing:
        names = ", ".join(map(repr, missing))
        raise WardroundError("WR-1104", f"The table has no column {names}{_separator_hint(header, manifest)}.")


def _separator_hint(header: list[str], manifest: Manifest) -> str:
    """What a header in one piece tells: the file has another separator than the manifest says.

    The header itself is not repeated: in a file without one, it is a patient's row.
    """
    used = manifest.table.separator
    other = [found for found in SEPARATORS if found != used and found in "".join(header)]
    if len(header) > 1 or not other:
        return ""
    return f": it has a single column, in which {other[0]!r} separates; table.separator is {used!r}"


def _kept(row: Row, where: Mapping[str, str | tuple[str, ...]]) -> bool:
    return all(row.values[column] in ((want,) if isinstance(want, str) else want) for column, want in where.items())


def _read_csv(path: Path, separator: str) -> tuple[list[str], list[Row]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except UnicodeDecodeError as error:
        raise WardroundError("WR-1103", "The table is not UTF-8 text.") from error
    except (OSError, csv.Error) as error:
        raise WardroundError("WR-1103", f"The table cannot be read: {error}.") from error
    if not lines:
        raise WardroundError("WR-1105", "The table is an empty file.")
    header = lines[0]
    ragged = [number for number, fields in enumerate(lines[1:], start=2) if len(fields) != len(header)]
    if ragged:
        first = ", ".join(str(number) for number in ragged[:5])
        message = f"{len(ragged)} rows of the table do not have the {len(header)} fields of the header: row {first}"
        raise WardroundError("WR-1103", f"{message}{', …' if len(ragged) > 5 else ''}.")
    rows = [Row(number, dict(zip(header, fields, strict=True))) for number, fields in enumerate(lines[1:], start=2)]
    return header, rows


def _read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise WardroundError("WR-1103", "The table is not a readable Parquet file.") from error
    header = [str(name) for name in table.column_names]
    if len(set(header)) != len(header):
        raise WardroundError("WR-1103", "The header of the table names a column twice.")
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [
        Row(number, dict(zip(header, fields, strict=True)))
        for number, fields in enumerate(zip(*columns, strict=True), start=2)
    ]
    return header, rows


def _text(value: object) -> str:
    """A Parquet value as the text that a CSV of the same table would hold; missing is empty.

    Whole floats lose their ``.0``: integer columns with missing values are stored as floats.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
