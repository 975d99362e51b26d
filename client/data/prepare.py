"""From checked samples to the arrays that a model sees, and back to the native grid for evaluation.

Per image and channel: resample to a spacing if the study asks for it, resize or pad to the input
size, normalise with numbers of that image alone. The result is kept on disk and memory-mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wardround.client.data.cache import Arrays, cached, key_of
from wardround.client.data.decode import UnusableSampleError, decode
from wardround.client.data.resample import resampled_shape, resize, resize_mask
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.client.data.decode import Case, CaseFacts
    from wardround.client.data.manifest import Manifest
    from wardround.client.data.rows import Sample
    from wardround.client.data.samples import DataSet
    from wardround.common.study import Input, Study

Number = TypeVar("Number", np.float32, np.uint8)

VERSION = 1
"""Part of the cache key: raised whenever the same data would be prepared differently."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a prepared image lies on its native grid.

    Attributes:
        native: Native shape, voxels.
        spacing_mm: Native voxel size, mm; None where unknown.
        grid: Shape after resampling to ``input.spacing_mm``; equal to ``native`` without it.
        size: Shape of the prepared image.
        offsets: Voxels of padding before the image on each axis; None when the image was resized.
    """

    native: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    grid: tuple[int, ...]
    size: tuple[int, ...]
    offsets: tuple[int, ...] | None


@dataclass(frozen=True)
class PreparedSet:
    """What models train on and predict.

    Attributes:
        images: float32 ``[N, C, *input.size]``, normalised, usually memory-mapped, read-only.
        masks: uint8 ``[N, *input.size]``, class indices (0 background); None for classification.
        targets: uint8 ``[N, labels]``, 0 or 1; ``[N, 0]`` for segmentation.
        patients: Raw patient identifier of each sample.
        rows: Row number of each sample.
        geometry: Of each sample.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.uint8] | None
    targets: NDArray[np.uint8]
    patients: tuple[str, ...]
    rows: tuple[int, ...]
    geometry: tuple[Geometry, ...]

    def inner(self, index: int) -> NDArray[np.float32]:
        """First channel of a sample without its padding."""
        geometry = self.geometry[index]
        image: NDArray[np.float32] = self.images[index, 0]
        return image if geometry.offsets is None else image[_window(geometry)]


def prepare(
    data: DataSet, study: Study, cache_dir: Path, *, progress: Callable[[int, int], None] | None = None
) -> PreparedSet:
    """Prepare a data set for a study, or open what an earlier call prepared.

    Args:
        data: Loaded with the same study.
        study: Its task and input decide the result.
        cache_dir: Where prepared arrays are kept; they are as sensitive as the images.
        progress: Told (samples done, samples in all).

    Raises:
        WardroundError: WR-1107, a file changed since it was checked; WR-1122, the cache is not writable.
    """
    shape = (len(data.samples), len(study.task.channels), *study.input.size)
    masked = study.task.kind == "segmentation"

    def fill(arrays: Arrays) -> None:
        for index, (sample, facts) in enumerate(zip(data.samples, data.facts, strict=True)):
            case = _decode_again(sample, facts, data)
            images, mask = prepare_case(case, data.manifest, study)
            arrays.images[index] = images
            if arrays.masks is not None and mask is not None:
                arrays.masks[index] = mask
            if progress is not None:
                progress(index + 1, len(data.samples))

    arrays = cached(cache_dir, key_of(VERSION, data.digest, study), shape, masked=masked, fill=fill)
    targets = np.array([sample.targets for sample in data.samples], dtype=np.uint8).reshape(shape[0], -1)
    geometry = tuple(geometry_of(facts.shape, facts.spacing_mm, study.input) for facts in data.facts)
    rows = tuple(sample.row for sample in data.samples)
    return PreparedSet(arrays.images, arrays.masks, targets, data.patients, rows, geometry)


def _decode_again(sample: Sample, facts: CaseFacts, data: DataSet) -> Case:
    try:
        case = decode(sample, data.manifest, data.labels)
    except UnusableSampleError as error:
        message = f"The file of row {sample.row} became unusable after it was checked: {error.reason}"
        raise WardroundError("WR-1107", f"{message}.") from error
    if case.digests != facts.digests:
        raise WardroundError("WR-1107", f"A file of row {sample.row} changed after it was checked.")
    return case


def prepare_case(case: Case, manifest: Manifest, study: Study) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Prepare one decoded sample: images ``[C, *size]`` in the study's channel order, mask ``[*size]`` or None."""
    named = {channel.name: image for channel, image in zip(manifest.channels, case.images, strict=True)}
    native = case.images[0].shape
    geometry = geometry_of(native, case.spacing_mm, study.input)
    images = np.stack([_prepare_image(named[name], geometry, study.input) for name in study.task.channels])
    if case.mask is None:
        return images, None
    target = geometry.grid if geometry.offsets is not None else geometry.size
    mask = resize_mask(case.mask, target, len(study.task.labels) + 1)
    return images, _pad(mask, geometry, np.uint8(0))


def geometry_of(native: Sequence[int], spacing_mm: tuple[float, ...] | None, wanted: Input) -> Geometry:
    """Where an image of this shape and spacing comes to lie."""
    grid = resampled_shape(native, spacing_mm, wanted.spacing_mm)
    offsets = None
    if wanted.fit == "pad":
        offsets = tuple((size - length) // 2 for size, length in zip(wanted.size, grid, strict=True))
    return Geometry(tuple(native), spacing_mm, grid, wanted.size, offsets)


def _prepare_image(image: NDArray[np.float32], geometry: Geometry, wanted: Input) -> NDArray[np.float32]:
    image = resize(image, geometry.grid)
    if geometry.offsets is None:
        image = resize(image, geometry.size)
    image = normalise(image, wanted.normalisation)
    return _pad(image, geometry, image.min())


def _pad(array: NDArray[Number], geometry: Geometry, value: Number) -> NDArray[Number]:
    if geometry.offsets is None:
        return array
    padded = np.full(geometry.size, value, dtype=array.dtype)
    padded[_window(geometry)] = array
    return padded


def _window(geometry: Geometry) -> tuple[slice, ...]:
    """Where the image lies inside the padded array."""
    offsets = geometry.offsets or (0,) * len(geometry.grid)
    return tuple(slice(start, start + length) for start, length in zip(offsets, geometry.grid, strict=True))


def normalise(image: NDArray[np.float32], method: str) -> NDArray[np.float32]:
    """Normalise one channel of one image with its own numbers (:class:`wardround.common.study.Input`).

    An image that resampling made constant becomes 0 everywhere.
    """
    wide = image.astype(np.float64)
    if method == "zscore":
        offset, scale = wide.mean(), wide.std()
    elif method == "minmax":
        offset, scale = wide.min(), np.ptp(wide)
    else:
        offset, high = np.percentile(wide, (1, 99))
        scale = high - offset
        wide = np.clip(wide, offset, high)
    normalised = (wide - offset) / scale if scale > 0 else np.zeros_like(wide)
    return normalised.astype(np.float32)


def restore(probabilities: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Bring a prediction back to the native grid.

    Args:
        probabilities: ``[K, *geometry.size]``.
        geometry: Of the sample.

    Returns:
        ``[K, *geometry.native]``: the padding cut off exactly, the rest by linear interpolation.
    """
    if geometry.offsets is not None:
        probabilities = probabilities[(slice(None), *_window(geometry))]
    return resize(probabilities, geometry.native)


def native_mask(
    sample: Sample, manifest: Manifest, labels: Sequence[str]
) -> tuple[NDArray[np.uint8], tuple[float, ...] | None]:
    """The true mask on the native grid (RAS+ for volumes).

    Args:
        sample: Of a segmentation data set.
        manifest: Of that data set.
        labels: Order of the class indices: ``DataSet.labels``.

    Returns:
        Class indices ``[*native]`` and the voxel size in mm, None where it is unknown.

    Raises:
        ValueError: The data set has no masks.
    """
    case = _decoded(sample, manifest, labels)
    if case.mask is None:
        raise ValueError("a classification data set has no masks")
    return case.mask, case.spacing_mm


def native_image(sample: Sample, manifest: Manifest, channel: int = 0) -> NDArray[np.float32]:
    """One channel on its native grid, native units, ``[*native]``."""
    return _decoded(sample, manifest, manifest.target.labels).images[channel]


def _decoded(sample: Sample, manifest: Manifest, labels: Sequence[str]) -> Case:
    try:
        return decode(sample, manifest, labels)
    except UnusableSampleError as error:
        message = f"The file of row {sample.row} became unusable after it was checked: {error.reason}"
        raise WardroundError("WR-1107", f"{message}.") from error
