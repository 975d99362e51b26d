"""Reading one image file from its bytes: PNG (2D) and NIfTI (3D, brought to RAS+).

Headers are judged before any pixel is decoded, so that a small file that declares a huge image
costs nothing. Reading is lossless; whatever would need a guess is refused with :class:`UnusableImageError`.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 1 << 26
"""Largest 2D image: 67 million pixels (8192 by 8192)."""

MAX_VOXELS = 1 << 29
"""Largest volume: 537 million voxels."""

MAX_FILE_BYTES = 1 << 33
"""Largest image file: 8 GiB."""

MAX_OFFSET = 1 << 24
"""Furthest start of the voxels in a NIfTI file: 16 MiB of header extensions."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE = 3
_DOUBTFUL = 30
"""Level of header faults (nibabel's scale) from which a repair could be wrong, such as of orientation codes."""

_QUIET = logging.Logger("nifti header", level=logging.CRITICAL)  # noqa: LOG001 - a sink that no one configures
_NIFTI1_HEADER = 348
_NIFTI2_HEADER = 540


class UnusableImageError(Exception):
    """An image that cannot be used, with the code of the refusal and a reason without patient data."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded image.

    Attributes:
        array: Native numbers, ``[rows, columns]`` or the RAS+ voxel axes ``[right, anterior, superior]``.
        spacing_mm: Voxel size along the axes of ``array``, mm; None where the format has none.
        affine: Voxel index to RAS+ mm, ``[4, 4]``; None for PNG.
    """

    array: NDArray[Any]
    spacing_mm: tuple[float, ...] | None
    affine: NDArray[np.float64] | None


def read_image(data: bytes, image_format: str, *, mask: bool = False) -> Image:
    """Decode the bytes of one image or mask.

    Args:
        data: The whole file.
        image_format: ``png`` or ``nifti``.
        mask: The numbers are classes; matters for PNG with a palette.

    Raises:
        UnusableImageError: WR-1107 damaged or of another format, WR-1112 unsupported form,
            WR-1113 too large.
    """
    return read_png(data, mask=mask) if image_format == "png" else read_nifti(data)


def read_png(data: bytes, *, mask: bool = False) -> Image:
    """Decode a greyscale PNG of 1 to 16 bits to its stored numbers.

    Colour is accepted only where red, green and blue agree everywhere, an alpha channel only where
    it is opaque everywhere. With a palette, a mask gives its indices, an image its colours.
    """
    from PIL import Image as Pillow

    depth, colour = _png_header(data)
    try:
        with Pillow.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if getattr(picture, "n_frames", 1) != 1:
                raise UnusableImageError("WR-1112", "is an animation")
            if "transparency" in picture.info:
                raise UnusableImageError("WR-1112", "has transparent pixels")
            array = np.asarray(picture.convert("RGB") if colour == _PALETTE and not mask else picture)
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, zlib.error, struct.error) as error:
        raise UnusableImageError("WR-1107", "is a damaged PNG file") from error
    if array.ndim == 3:
        array = _grey(array)
    elif colour == 0 and depth in (2, 4):
        array = array // (255 // (2**depth - 1))  # Pillow spreads these over 0 to 255
    return Image(array.astype(np.uint8) if array.dtype == np.bool_ else array, None, None)


def _png_header(data: bytes) -> tuple[int, int]:
    """Bit depth and colour type (PNG specification, section 11.2.1), after the size was accepted."""
    if len(data) < 33 or not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        raise UnusableImageError("WR-1107", "is not a PNG file")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if width * height > MAX_PIXELS:
        raise UnusableImageError("WR-1113", f"declares {width} x {height} pixels")
    if depth == 16 and colour != 0:
        raise UnusableImageError("WR-1112", "is a 16-bit colour or transparent image")
    return depth, colour


def _grey(array: NDArray[Any]) -> NDArray[Any]:
    """``[rows, columns, bands]`` to ``[rows, columns]``, only if nothing is lost by it."""
    bands = array.shape[2]
    if bands in (2, 4) and not np.all(array[..., -1] == 255):
        raise UnusableImageError("WR-1112", "has transparent pixels")
    if bands >= 3 and not (np.all(array[..., 0] == array[..., 1]) and np.all(array[..., 0] == array[..., 2])):
        raise UnusableImageError("WR-1112", "is a colour image")
    return np.ascontiguousarray(array[..., 0])


def read_nifti(data: bytes) -> Image:
    """Decode a single-file NIfTI-1 or NIfTI-2 volume (plain or gzip) and turn it to RAS+.

    The intensity slope and intercept of the header are applied. The turn only permutes and flips
    axes (closest canonical orientation); nothing is interpolated.
    """
    import nibabel
    from nibabel.orientations import OrientationError
    from nibabel.spatialimages import HeaderDataError

    head = _inflate(data, _NIFTI2_HEADER)
    kind = _nifti_class(head)
    try:
        header = kind.header_class.from_fileobj(io.BytesIO(head), check=False)
        header.check_fix(logger=_QUIET, error_level=_DOUBTFUL)
        shape = header.get_data_shape()
        dtype = header.get_data_dtype()
        offset = int(header.get_data_offset())
    except (HeaderDataError, ValueError, OverflowError, KeyError, struct.error) as error:
        raise UnusableImageError("WR-1107", "has a damaged NIfTI header") from error
    _check_header(shape, dtype, header)
    if not 0 <= offset <= MAX_OFFSET:
        raise UnusableImageError("WR-1107", "has a damaged NIfTI header")
    needed = offset + math.prod(shape) * dtype.itemsize
    raw = _inflate(data, needed, exactly=True)
    try:
        native = kind.from_bytes(raw)
        volume = nibabel.as_closest_canonical(native)  # type: ignore[no-untyped-call]
        array = np.asanyarray(volume.dataobj)
    except (HeaderDataError, OrientationError, ValueError, OSError) as error:
        raise UnusableImageError("WR-1107", "is a damaged NIfTI file") from error
    affine = np.asarray(volume.affine, dtype=np.float64)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return Image(array, spacing, affine)


def _nifti_class(head: bytes) -> Any:  # noqa: ANN401 - nibabel is untyped
    import nibabel

    if len(head) >= _NIFTI1_HEADER and head[344:348] == b"n+1\0":
        return nibabel.Nifti1Image
    if len(head) >= _NIFTI2_HEADER and head[4:12] == b"n+2\0\r\n\x1a\n":
        return nibabel.Nifti2Image
    raise UnusableImageError("WR-1107", "is not a single-file NIfTI volume")


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], header: Any) -> None:  # noqa: ANN401
    if len(shape) != 3:
        raise UnusableImageError("WR-1112", f"has {len(shape)} dimensions instead of 3")
    if any(length < 1 for length in shape):
        raise UnusableImageError("WR-1107", "has a damaged NIfTI header")
    if math.prod(shape) > MAX_VOXELS:
        raise UnusableImageError("WR-1113", f"declares {' x '.join(str(length) for length in shape)} voxels")
    if dtype.kind not in "iuf":
        raise UnusableImageError("WR-1112", "holds complex or colour values")
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise UnusableImageError("WR-1112", "does not say its orientation (sform and qform code are 0)")
    _check_affine(header.get_best_affine())


def _check_affine(affine: NDArray[np.float64]) -> None:
    """Voxels between a nanometre and a kilometre, on three axes that do not lie in one plane."""
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
    plausible = np.all(np.isfinite(affine)) and np.all((sizes > 1e-6) & (sizes < 1e6))
    if not plausible or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-6:
        raise UnusableImageError("WR-1107", "has an affine that cannot be inverted")


def _inflate(data: bytes, length: int, *, exactly: bool = False) -> bytes:
    """The first ``length`` bytes, unpacked if gzipped, never more than that in memory.

    With ``exactly`` the data must end there, which also makes gzip check its checksum.
    """
    if not data.startswith(b"\x1f\x8b"):
        if exactly and len(data) < length:
            raise UnusableImageError("WR-1107", "ends before its last voxel")
        if exactly and len(data) > length:
            raise UnusableImageError("WR-1113", "is longer than its header says")
        return data[:length]
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(length)
            surplus = file.read(1) if exactly else b""
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableImageError("WR-1107", "is a damaged gzip file") from error
    if exactly and len(unpacked) < length:
        raise UnusableImageError("WR-1107", "ends before its last voxel")
    if surplus:
        raise UnusableImageError("WR-1113", "is longer than its header says")
    return unpacked
