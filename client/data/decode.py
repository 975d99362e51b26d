"""Decoding the files of one sample and judging what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.client.data.manifest import SegmentationTarget
from wardround.client.data.readers import MAX_FILE_BYTES, Image, UnusableImageError, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.client.data.manifest import Manifest
    from wardround.client.data.rows import Sample

VOXELS_KEPT = 128
"""Voxels of an image that its histogram is drawn from."""

GOLDEN_RATIO = (5**0.5 - 1) / 2

AFFINE_TOLERANCE_MM = 0.01
"""Two grids are one if no corner moves further than this, mm."""


class UnusableSampleError(Exception):
    """A file of a sample cannot be used: code, reason, column of the table and file name."""

    def __init__(self, code: str, reason: str, column: str, path: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.column = column
        self.path = path


@dataclass(frozen=True, slots=True)
class Case:
    """The decoded files of a sample.

    Attributes:
        images: One float32 array per channel of the manifest, each ``[*native]``.
        mask: uint8 ``[*native]``: 0 background, 1, 2, … the labels in order; None for classification.
        spacing_mm: Voxel size along the axes, mm; None where unknown.
        digests: SHA-256 of the bytes of each file, channels first, then the mask.
    """

    images: tuple[NDArray[np.float32], ...]
    mask: NDArray[np.uint8] | None
    spacing_mm: tuple[float, ...] | None
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What is kept of a sample after its check.

    Attributes:
        shape: Native shape, voxels.
        spacing_mm: Native voxel size, mm; None where unknown.
        present: Per label 1 if the image shows it, else 0.
        digests: As in :class:`Case`.
        intensities: Voxels of the first channel, spread over the image, native units, at most 128.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    present: tuple[int, ...]
    digests: tuple[str, ...]
    intensities: tuple[float, ...]


def decode(sample: Sample, manifest: Manifest, labels: Sequence[str]) -> Case:
    """Decode all channels and the mask of a sample.

    Raises:
        UnusableSampleError: WR-1107 to WR-1113 or WR-1123.
    """
    digests: list[str] = []
    decoded: list[Image] = []
    for channel, path in zip(manifest.channels, sample.channels, strict=True):
        image, digest = _opened(path, channel.format, channel.column)
        decoded.append(_judged(image, decoded, channel.column, path))
        digests.append(digest)
    mask = None
    target = manifest.target
    if isinstance(target, SegmentationTarget) and sample.mask is not None:
        image, digest = _opened(sample.mask, target.format, target.column, mask=True)
        mask = _mask(image, decoded[0], target, labels, sample.mask)
        digests.append(digest)
    spacing = decoded[0].spacing_mm or sample.spacing_mm
    return Case(tuple(image.array for image in decoded), mask, spacing, tuple(digests))


def facts_of(case: Case, sample: Sample, labels: Sequence[str]) -> CaseFacts:
    """What is kept of a decoded sample."""
    present = sample.targets
    if case.mask is not None:
        present = tuple(int(count > 0) for count in np.bincount(case.mask.ravel(), minlength=len(labels) + 1)[1:])
    intensities = tuple(float(value) for value in spread_voxels(case.images[0]))
    return CaseFacts(case.images[0].shape, case.spacing_mm, present, case.digests, intensities)


def spread_voxels(image: NDArray[np.float32], count: int = VOXELS_KEPT) -> NDArray[np.float32]:
    """At most ``count`` voxels, spread evenly over the image.

    The places are a golden-ratio sequence: a fixed step would meet the same columns again and again.
    """
    if image.size <= count:
        return image.reshape(-1)
    places = np.modf((np.arange(count) + 0.5) * GOLDEN_RATIO)[0] * image.size
    voxels: NDArray[np.float32] = np.take(image, places.astype(np.int64))
    return voxels


def digests_of(sample: Sample) -> tuple[str, ...]:
    """SHA-256 of the bytes of each file of a sample, channels first, then the mask.

    Raises:
        UnusableImageError: WR-1107 or WR-1113, a file cannot be read.
    """
    files = [*sample.channels, *([sample.mask] if sample.mask is not None else [])]
    return tuple(hashlib.sha256(_bytes(path)).hexdigest() for path in files)


def _opened(path: Path, image_format: str, column: str, *, mask: bool = False) -> tuple[Image, str]:
    try:
        data = _bytes(path)
        return read_image(data, image_format, mask=mask), hashlib.sha256(data).hexdigest()
    except UnusableImageError as error:
        raise UnusableSampleError(error.code, error.reason, column, path.name) from error


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # also keeps a pipe or a device from blocking the check
            raise UnusableImageError("WR-1107", "names a file that does not exist")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnusableImageError("WR-1113", "is larger than 8 GiB")
        return path.read_bytes()
    except OSError as error:
        raise UnusableImageError("WR-1107", f"cannot be read ({error.strerror})") from error


def _judged(image: Image, earlier: Sequence[Image], column: str, path: Path) -> Image:
    """A channel as float32: finite, not constant, and on the grid of the first channel."""
    if earlier and not _same_grid(image, earlier[0]):
        raise UnusableSampleError("WR-1109", "has another grid than the first channel", column, path.name)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused
        array = np.asarray(image.array, dtype=np.float32)
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnusableSampleError("WR-1111", "has NaN or infinite values", column, path.name)
    if low == high:
        raise UnusableSampleError("WR-1123", "has one value everywhere", column, path.name)
    return Image(array, image.spacing_mm, image.affine)


def _same_grid(one: Image, other: Image) -> bool:
    if one.array.shape != other.array.shape:
        return False
    if one.affine is None or other.affine is None:
        return one.affine is other.affine
    corner = np.array([*one.array.shape, 1.0])
    moved = [(one.affine - other.affine) @ point for point in _corners(corner)]
    return bool(np.max(np.abs(moved)) <= AFFINE_TOLERANCE_MM)


def _corners(corner: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    choices = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], [1], indexing="ij"), axis=-1).reshape(-1, 4)
    return [choice * corner for choice in choices]


def _mask(
    image: Image, first: Image, target: SegmentationTarget, labels: Sequence[str], path: Path
) -> NDArray[np.uint8]:
    """Raw numbers to class indices."""
    if not _same_grid(image, first):
        raise UnusableSampleError("WR-1109", "has a mask on another grid than its image", target.column, path.name)
    array: NDArray[Any] = image.array
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)) or np.any(array != np.rint(array)):
            raise UnusableSampleError("WR-1110", "has mask values that are not whole", target.column, path.name)
        array = array.astype(np.int64)
    indices = np.zeros(array.shape, dtype=np.uint8)
    known = array == 0
    for raw, name in target.classes.items():
        here = array == int(raw)
        known |= here
        if name:
            indices[here] = labels.index(name) + 1
    if not known.all():
        raise UnusableSampleError("WR-1110", "has mask values outside target.classes", target.column, path.name)
    return indices
