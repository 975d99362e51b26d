"""Damaged files: whatever the bytes, a reader returns an image or refuses; it never fails otherwise."""

from __future__ import annotations

import gzip
import io

import nibabel
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from wardround.client.data.readers import MAX_VOXELS, Image, UnusableImageError, read_image

RNG = np.random.default_rng(2)


def _png() -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(RNG.integers(0, 256, (9, 8)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


VOLUME = RNG.integers(0, 900, (5, 4, 3)).astype(np.int16)
FILES = {
    "png": [_png()],
    "nifti": [kind(VOLUME, np.eye(4)).to_bytes() for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)],
}
FILES["nifti"] += [gzip.compress(data, mtime=0) for data in FILES["nifti"]]


def outcome(data: bytes, form: str) -> Image | str:
    """The image, or the code of its refusal."""
    try:
        return read_image(data, form)
    except UnusableImageError as refusal:
        return refusal.code


@settings(max_examples=300)
@given(st.data(), st.sampled_from(["png", "nifti"]))
def test_damaged_bytes(data: st.DataObject, form: str) -> None:
    whole = bytearray(data.draw(st.sampled_from(FILES[form])))
    header = st.integers(0, min(len(whole), 352) - 1)
    for place in data.draw(st.lists(header, min_size=1, max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    found = outcome(bytes(whole[:cut]), form)
    if isinstance(found, str):
        assert found in {"WR-1107", "WR-1112", "WR-1113"}
    else:
        assert found.array.ndim == {"png": 2, "nifti": 3}[form]
        assert 0 < found.array.size <= MAX_VOXELS


def test_undamaged_bytes() -> None:
    for form, files in FILES.items():
        for data in files:
            assert read_image(data, form).array.size in {72, 60}
