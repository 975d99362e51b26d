"""Writing what a hospital holds: manifest, table and images, in the formats hospitals use."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.client.data.manifest import Manifest

SUFFIX = {"png": ".png", "nifti": ".nii"}
"""File name suffix of each image format."""


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest as TOML; it reads back equal."""
    import tomli_w

    fields = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
    path.write_text(tomli_w.dumps(fields), encoding="utf-8")


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV, with the columns of the first row in its order."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_image(path: Path, image: NDArray[np.float32], affine: NDArray[np.float64] | None) -> None:
    """Write ``[rows, columns]`` in 0 to 1 as 16-bit PNG, ``[x, y, z]`` as float32 NIfTI-1.

    PNG holds no number outside 0 to 1; what lies beyond is saturated, as a detector would.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        from PIL import Image

        counts = np.round(np.clip(image, 0, 1) * 65535).astype(np.uint16)
        Image.fromarray(counts).save(path, compress_level=1)
    else:
        _write_nifti(path, image.astype(np.float32), affine)


def write_mask(path: Path, mask: NDArray[np.uint8], affine: NDArray[np.float64] | None) -> None:
    """Write a label map: 8-bit PNG or uint8 NIfTI-1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        from PIL import Image

        Image.fromarray(mask).save(path, compress_level=1)
    else:
        _write_nifti(path, mask, affine)


def _write_nifti(
    path: Path, volume: NDArray[np.float32] | NDArray[np.uint8], affine: NDArray[np.float64] | None
) -> None:
    import nibabel

    if affine is None:
        raise ValueError("a volume needs its affine")
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)  # type: ignore[no-untyped-call]
