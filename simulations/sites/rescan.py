"""A hospital's images on disk, taken again by its virtual scanner."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.data.manifest import SegmentationTarget, Table
from wardround.client.data.paths import LeavesRootError, inside_folder
from wardround.client.data.readers import UnusableImageError, read_image
from wardround.client.data.table import read_rows
from wardround.common.errors import WardroundError
from wardround.simulations.sites.scanner import scan
from wardround.simulations.sites.shapes import single
from wardround.simulations.sites.write import SUFFIX, write_image, write_manifest, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.data.manifest import Channel, Manifest
    from wardround.client.data.table import Row
    from wardround.simulations.sites.scanner import Scanner


@dataclass(frozen=True, slots=True)
class _Rescan:
    """One hospital's rescanning: what is read, and where it is written."""

    manifest: Manifest
    root: Path
    images_root: Path
    scanner: Scanner
    folder: Path


def rescan(manifest: Manifest, root: Path, scanner: Scanner, folder: Path) -> None:
    """Write manifest, table, scanned images and copied masks of one hospital into ``folder``.

    Raises:
        WardroundError: WR-1014, an image or mask cannot be read; the row is named.
    """
    rows, images_root = read_rows(manifest, root)
    job = _Rescan(manifest, root, images_root, scanner, folder)
    write_table(folder / "table.csv", [_rescan_row(job, row) for row in rows])
    own = manifest.model_copy(update={"table": Table(file="table.csv")})
    write_manifest(folder / "manifest.toml", own)


def inputs(manifest: Manifest, root: Path) -> list[list[str | int]]:
    """Name, size in bytes and time of change of every image and mask, in the table's order.

    Raises:
        WardroundError: WR-1014, a file is missing or outside ``root``; the row is named.
    """
    rows, images_root = read_rows(manifest, root)
    columns = [channel.column for channel in manifest.channels]
    if isinstance(manifest.target, SegmentationTarget):
        columns.append(manifest.target.column)
    files = [_file(row, column, root, images_root) for row in rows for column in columns]
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _rescan_row(job: _Rescan, row: Row) -> dict[str, str]:
    """The row with its paths changed to the files written into the folder."""
    cells = dict(row.values)
    for channel in job.manifest.channels:
        cells[channel.column] = f"{channel.name}/row_{row.number:06d}{SUFFIX[channel.format]}"
        _rescan_image(job, row, channel, job.folder / cells[channel.column])
    target = job.manifest.target
    if isinstance(target, SegmentationTarget):
        source = _file(row, target.column, job.root, job.images_root)
        cells[target.column] = f"mask/row_{row.number:06d}{''.join(source.suffixes)}"
        (job.folder / "mask").mkdir(exist_ok=True)
        shutil.copyfile(source, job.folder / cells[target.column])
    return cells


def _rescan_image(job: _Rescan, row: Row, channel: Channel, path: Path) -> None:
    try:
        image = read_image(_file(row, channel.column, job.root, job.images_root).read_bytes(), channel.format)
    except UnusableImageError as error:
        raise WardroundError("WR-1014", f"The {channel.name} of table row {row.number} {error.reason}.") from error
    pixels = single(image.array)
    if not np.isfinite(pixels).all():
        raise WardroundError("WR-1014", f"The {channel.name} of table row {row.number} has pixels that are no numbers.")
    key = f"{channel.name} {row.number}"
    write_image(path, scan(pixels, job.scanner, site=job.manifest.name, key=key), image.affine)


def _file(row: Row, column: str, root: Path, images_root: Path) -> Path:
    try:
        path = inside_folder(root, images_root, row.values[column])
    except LeavesRootError as error:
        raise WardroundError("WR-1014", f"The path in column {column} of table row {row.number} {error}.") from error
    except OSError as error:
        message = f"The path in column {column} of table row {row.number} cannot be followed"
        raise WardroundError("WR-1014", f"{message}: {error.strerror}.") from error
    if not path.is_file():
        raise WardroundError("WR-1014", f"The file in column {column} of table row {row.number} does not exist.")
    return path
