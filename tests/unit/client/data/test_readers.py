"""Readers: stored numbers come back exactly; whatever would need a guess or exhaust memory is refused."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from wardround.client.data.readers import MAX_PIXELS, UnusableImageError, read_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(3)
GREY8 = RNG.integers(0, 256, (7, 5)).astype(np.uint8)
GREY16 = RNG.integers(0, 65536, (7, 5)).astype(np.uint16)
VOLUME = RNG.integers(-900, 900, (4, 5, 6)).astype(np.int16)


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunked(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand (PNG specification, sections 5.3 and 11)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def nifti(
    array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] | None = None, *, kind: Any = nibabel.Nifti1Image
) -> bytes:
    data: bytes = kind(array, np.diag([1, 2, 3, 1]) if affine is None else affine).to_bytes()
    return data


def refusal(data: bytes, form: str) -> str:
    with pytest.raises(UnusableImageError) as caught:
        read_image(data, form)
    return caught.value.code


def test_png_of_8_and_16_bits() -> None:
    for array in (GREY8, GREY16):
        image = read_image(saved(Image.fromarray(array)), "png")
        np.testing.assert_array_equal(image.array, array)
        assert image.array.dtype == array.dtype
        assert image.spacing_mm is None


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_fewer_bits_gives_the_stored_numbers(depth: int) -> None:
    stored = np.arange(8, dtype=np.uint8).reshape(1, 8) % 2**depth
    bits = "".join(f"{value:0{depth}b}" for value in stored[0])
    row = b"\0" + int(bits, 2).to_bytes(depth, "big")
    for mask in (False, True):
        np.testing.assert_array_equal(read_image(chunked(8, 1, depth, 0, row), "png", mask=mask).array, stored)


def test_grey_in_colour_clothes() -> None:
    colour = np.stack([GREY8] * 3, axis=-1)
    opaque = np.concatenate([colour, np.full((7, 5, 1), 255, np.uint8)], axis=-1)
    for array in (colour, opaque):
        np.testing.assert_array_equal(read_image(saved(Image.fromarray(array)), "png").array, GREY8)
    tinted, clear = colour.copy(), opaque.copy()
    tinted[0, 0, 1] ^= 1
    clear[0, 0, 3] = 0
    assert refusal(saved(Image.fromarray(tinted)), "png") == "WR-1112"
    assert refusal(saved(Image.fromarray(clear)), "png") == "WR-1112"


def test_palette_is_indices_in_masks_and_colours_in_images() -> None:
    indices = GREY8 % 3
    picture = Image.fromarray(indices)
    picture.putpalette([0, 0, 0, 90, 90, 90, 200, 200, 200])
    grey = saved(picture)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    coloured = saved(picture)
    np.testing.assert_array_equal(read_image(coloured, "png", mask=True).array, indices)
    np.testing.assert_array_equal(read_image(grey, "png").array, np.array([0, 90, 200])[indices])
    assert refusal(coloured, "png") == "WR-1112"


def test_animation_and_transparent_colour_are_refused() -> None:
    frames = [Image.fromarray(GREY8), Image.fromarray(255 - GREY8)]
    assert refusal(saved(frames[0], save_all=True, append_images=frames[1:]), "png") == "WR-1112"
    assert refusal(saved(frames[0], transparency=3), "png") == "WR-1112"
    assert refusal(chunked(1, 1, 16, 2, bytes(7)), "png") == "WR-1112"


def test_damaged_png() -> None:
    whole = saved(Image.fromarray(GREY8))
    read_image(whole, "png")
    jpeg = io.BytesIO()
    Image.fromarray(GREY8).save(jpeg, "JPEG")
    for data in (b"", whole[:20], whole[: len(whole) // 2], whole[:50] + b"\xff" * 20 + whole[70:], jpeg.getvalue()):
        assert refusal(data, "png") == "WR-1107"


def test_png_that_declares_too_much_is_not_decoded() -> None:
    assert read_image(chunked(8, 1, 8, 0, bytes(9)), "png").array.shape == (1, 8)
    side = 1 << 20
    assert side * side > MAX_PIXELS
    assert refusal(chunked(side, side, 8, 0, bytes(9)), "png") == "WR-1113"


def test_nifti_numbers_spacing_and_slope() -> None:
    image = read_image(nifti(VOLUME), "nifti")
    np.testing.assert_array_equal(image.array, VOLUME)
    assert image.spacing_mm == (1.0, 2.0, 3.0)
    scaled = nibabel.Nifti1Image(VOLUME, np.eye(4))
    scaled.header.set_slope_inter(0.5, 10)
    stored = scaled.to_bytes()
    header = bytearray(stored)
    header[112:120] = struct.pack("<ff", 0.5, 10)
    np.testing.assert_allclose(read_image(bytes(header), "nifti").array, VOLUME * 0.5 + 10)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti_1_and_2_plain_and_packed(pack: Callable[[bytes], bytes], kind: Any) -> None:
    np.testing.assert_array_equal(read_image(pack(nifti(VOLUME, kind=kind)), "nifti").array, VOLUME)


def test_every_orientation_is_turned_to_ras() -> None:
    """The same point of the patient keeps its value, whatever order and direction the axes are stored in."""
    ras = read_image(nifti(VOLUME), "nifti")
    for axes in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        for flips in ((1, 1, 1), (-1, 1, -1), (-1, -1, -1)):
            stored = VOLUME.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
            affine = np.zeros((4, 4))
            affine[3, 3] = 1
            for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
                affine[world, axis] = flip * (world + 1)
                affine[world, 3] = 0 if flip == 1 else (world + 1) * (VOLUME.shape[world] - 1)
            turned = read_image(nifti(np.ascontiguousarray(stored), affine), "nifti")
            np.testing.assert_array_equal(turned.array, VOLUME)
            np.testing.assert_allclose(turned.affine, ras.affine)


def test_nifti_forms_that_are_refused() -> None:
    assert refusal(nifti(VOLUME[..., None]), "nifti") == "WR-1112"
    assert refusal(nifti(np.stack([VOLUME, VOLUME], axis=-1)), "nifti") == "WR-1112"
    assert refusal(nifti(VOLUME.astype(np.complex64)), "nifti") == "WR-1112"
    lost = bytearray(nifti(VOLUME))
    lost[252:256] = bytes(4)  # qform_code and sform_code
    assert refusal(bytes(lost), "nifti") == "WR-1112"


def test_header_that_declares_too_much_is_not_believed() -> None:
    """416 bytes may declare 32767 voxels on each axis: 35 million million."""
    header = bytearray(nifti(VOLUME)[:416])
    header[40:48] = struct.pack("<4h", 3, 32767, 32767, 32767)
    assert refusal(bytes(header), "nifti") == "WR-1113"
    assert refusal(gzip.compress(bytes(header)), "nifti") == "WR-1113"


def test_packed_file_that_swells_is_not_unpacked() -> None:
    whole = nifti(VOLUME)
    read_image(gzip.compress(whole), "nifti")
    assert refusal(gzip.compress(whole + bytes(50_000_000)), "nifti") == "WR-1113"
    assert refusal(whole + bytes(1), "nifti") == "WR-1113"


def test_damaged_nifti() -> None:
    whole = nifti(VOLUME)
    packed = gzip.compress(whole)
    checksum = bytearray(packed)
    checksum[-8] ^= 1
    for data in (
        b"",
        whole[:300],
        whole[:-1],
        packed[:-20],
        bytes(checksum),
        b"\x1f\x8b" + bytes(40),
        saved(Image.fromarray(GREY8)),
    ):
        assert refusal(data, "nifti") == "WR-1107"


def test_voxels_that_start_far_away_are_not_looked_for() -> None:
    header = bytearray(nifti(VOLUME))
    for offset in (1e15, -8.0, float("inf"), float("nan")):
        header[108:112] = struct.pack("<f", offset)
        assert refusal(gzip.compress(bytes(header) + bytes(50_000_000)), "nifti") == "WR-1107"


@pytest.mark.parametrize("offset", [108, 40, 70])
def test_nonsense_in_the_header(offset: int) -> None:
    """Offset of the voxels, number of axes, data type (NIfTI-1 standard, nifti1.h)."""
    header = bytearray(nifti(VOLUME))
    header[offset : offset + 4] = b"\xff" * 4
    assert refusal(bytes(header), "nifti") in {"WR-1107", "WR-1112", "WR-1113"}


def test_affine_that_cannot_be_inverted() -> None:
    image = bytearray(nifti(VOLUME))
    image[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    assert refusal(bytes(image), "nifti") == "WR-1107"


def test_real_volume(data_root: Path) -> None:
    path = min((data_root / "hippocampus" / "images").iterdir())
    expected = nibabel.as_closest_canonical(nibabel.load(path))
    image = read_image(path.read_bytes(), "nifti")
    np.testing.assert_array_equal(image.array, expected.get_fdata(dtype=np.float32))
    assert image.spacing_mm == (1.0, 1.0, 1.0)
