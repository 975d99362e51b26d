"""Preparation: what the model sees, and the way back to the native grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import torch

from wardround.client.data.prepare import geometry_of, native_image, native_mask, normalise, prepare, restore
from wardround.client.data.resample import resize, resize_mask
from wardround.client.data.samples import load_data_set
from wardround.common.errors import WardroundError
from wardround.common.study import Input

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("shape", [(13, 29), (40, 9), (20, 16), (7, 7)])
def test_resize_agrees_with_torch(shape: tuple[int, int]) -> None:
    image = RNG.normal(size=(2, 20, 16)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=shape, mode="bilinear", align_corners=False, antialias=True
    )
    np.testing.assert_allclose(resize(image, shape), theirs[0].numpy(), atol=1e-5)


def test_resize_agrees_with_torch_in_3d_when_enlarging() -> None:
    volume = RNG.normal(size=(1, 5, 6, 7)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(volume)[None], size=(9, 6, 20), mode="trilinear")
    np.testing.assert_allclose(resize(volume, (9, 6, 20)), theirs[0].numpy(), atol=1e-5)


def test_resized_mask_holds_only_its_classes() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[4:12, 4:16], mask[12:18, 4:16] = 1, 2
    smaller = resize_mask(mask, (10, 10), 3)
    np.testing.assert_array_equal(smaller, mask[::2, ::2])
    np.testing.assert_array_equal(resize_mask(mask, (40, 40), 3), mask.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(resize_mask(mask, (20, 20), 3), mask)


def test_normalisation() -> None:
    image = RNG.normal(50, 9, size=(30, 30)).astype(np.float32)
    score = normalise(image, "zscore")
    assert abs(score.mean()) < 1e-5
    assert abs(score.std() - 1) < 1e-5
    spread = normalise(image, "minmax")
    assert (spread.min(), spread.max()) == (0, 1)
    clipped = normalise(image, "percentile")
    low, high = np.quantile(image, [0.01, 0.99])
    np.testing.assert_allclose(clipped, np.clip((image - low) / (high - low), 0, 1), atol=1e-5)
    assert not normalise(np.full((3, 3), 7, np.float32), "zscore").any()


def test_large_intensities_keep_their_contrast() -> None:
    """Scanners that store millions: a mean in 32 bits would be off by more than the noise."""
    image = (1.5e6 + RNG.normal(size=(60, 60, 60))).astype(np.float32)
    score = normalise(image, "zscore")
    assert abs(float(score.mean(dtype=np.float64))) < 1e-4


def test_classification_is_resized_and_normalised(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    data = load_data_set(binary.write(), study)
    prepared = prepare(data, study, tmp_path / "cache")
    assert prepared.images.shape == (8, 1, 16, 16)
    assert prepared.images.dtype == np.float32
    assert not prepared.images.flags.writeable
    np.testing.assert_allclose(prepared.images.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.images.std(axis=(1, 2, 3)), 1, atol=1e-4)
    assert prepared.masks is None
    assert prepared.targets.tolist() == [[1]] * 4 + [[0]] * 4
    assert prepared.patients == data.patients
    assert prepared.rows == tuple(range(2, 10))


def test_masks_follow_the_studys_order_of_labels(nifti_masks: Any, make_study: Any, tmp_path: Path) -> None:
    """The manifest says 1 = lobe, 7 = lesion; the study counts lesion first."""
    study = make_study("3d", labels=("lesion", "lobe"), input={"fit": "pad"})
    data = load_data_set(nifti_masks.write(), study)
    prepared = prepare(data, study, tmp_path / "cache")
    expected = np.array([0, 2, 0, 0, 0, 0, 0, 1], np.uint8)[nifti_masks.masks[3]]
    mask, spacing = native_mask(data.samples[3], data.manifest, data.labels)
    np.testing.assert_array_equal(mask, expected)
    assert spacing == (1.0, 1.0, 1.0)
    assert prepared.masks is not None
    np.testing.assert_array_equal(prepared.masks[3][1:10, 1:11, 0:11], expected)
    assert prepared.masks[3].sum() == expected.sum()
    assert prepared.targets.shape == (8, 0)
    np.testing.assert_array_equal(native_image(data.samples[3], data.manifest), nifti_masks.images[3])


def test_padding_is_the_images_minimum_and_left_out_of_its_statistics(
    png_masks: Any, make_study: Any, tmp_path: Path
) -> None:
    study = make_study("2d", input={"fit": "pad", "size": [32, 32]})
    data = load_data_set(png_masks.write(), study)
    prepared = prepare(data, study, tmp_path / "cache")
    inner = prepared.images[2, 0, 6:26, 8:24]
    np.testing.assert_array_equal(prepared.inner(2), inner)
    image = png_masks.images[2].astype(np.float64)
    np.testing.assert_allclose(inner, (image - image.mean()) / image.std(), atol=1e-5)
    outside = np.ones((32, 32), bool)
    outside[6:26, 8:24] = False
    assert set(prepared.images[2, 0][outside].tolist()) == {float(inner.min())}


@pytest.mark.parametrize("fit", ["pad", "resize"])
@pytest.mark.parametrize("spacing", [None, (0.5, 2.0)])
def test_restore_undoes_preparation(
    png_masks: Any, make_study: Any, tmp_path: Path, fit: str, spacing: tuple[float, float] | None
) -> None:
    """A mask of large shapes comes back; with padding and no resampling, exactly."""
    png_masks.text += "\n[spacing]\nmm = [1.0, 1.0]\n"
    blocks = np.zeros((20, 16), np.uint8)
    blocks[2:10, 4:12], blocks[10:18, 4:12] = 1, 7
    for row in png_masks.rows:
        png_masks.put(row["mask"], blocks)
    wanted = {"fit": fit, "size": [48, 24]} | ({"spacing_mm": spacing} if spacing else {})
    study = make_study("2d", input=wanted)
    data = load_data_set(png_masks.write(), study)
    prepared = prepare(data, study, tmp_path / "cache")
    assert prepared.masks is not None
    shares = np.stack([prepared.masks[0] == value for value in range(3)]).astype(np.float32)
    back = restore(shares, prepared.geometry[0])
    assert back.shape == (3, 20, 16)
    truth, _ = native_mask(data.samples[0], data.manifest, data.labels)
    agreement = float((back.argmax(axis=0) == truth).mean())
    assert agreement == 1.0 if fit == "pad" and spacing is None else agreement > 0.9


def test_restore_is_linear_interpolation() -> None:
    wanted = Input(size=(8, 8))
    shares = RNG.random((2, 8, 8)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(shares)[None], size=(20, 11), mode="bilinear")
    back = restore(shares, geometry_of((20, 11), None, wanted))
    np.testing.assert_allclose(back, theirs[0].numpy(), atol=1e-6)


def test_channels_come_in_the_studys_order(nifti_masks: Any, make_study: Any, tmp_path: Path) -> None:
    nifti_masks.text = nifti_masks.text.replace(
        "[target]", '[[channels]]\nname = "second"\ncolumn = "second"\nformat = "nifti"\n[target]'
    )
    for i, row in enumerate(nifti_masks.rows):
        row["second"] = f"images/second{i}.nii.gz"
        nifti_masks.put(row["second"], RNG.integers(0, 99, (9, 10, 11)).astype(np.int16))
    study = make_study("3d", task={"channels": ["second", "image"]}, input={"fit": "pad"})
    data = load_data_set(nifti_masks.write(), study)
    prepared = prepare(data, study, tmp_path / "cache")
    second = nibabel.load(nifti_masks.folder / "images/second4.nii.gz").get_fdata()
    for channel, source in enumerate((second, nifti_masks.images[4].astype(np.float64))):
        inner = prepared.images[4, channel, 1:10, 1:11, 0:11]
        np.testing.assert_allclose(inner, (source - source.mean()) / source.std(), atol=1e-4)


def prepared_with_count(data: Any, study: Any, cache: Path) -> tuple[Any, int]:
    done: list[int] = []
    prepared = prepare(data, study, cache, progress=lambda index, _total: done.append(index))
    return prepared, len(done)


def test_cache_is_used_and_a_damaged_one_is_made_anew(png_masks: Any, make_study: Any, tmp_path: Path) -> None:
    study, cache = make_study("2d"), tmp_path / "cache"
    data = load_data_set(png_masks.write(), study)
    prepared, work = prepared_with_count(data, study, cache)
    first = np.array(prepared.images)
    assert work == 8
    assert prepared_with_count(data, study, cache)[1] == 0
    for name in ("images.npy", "masks.npy", "entry.json"):
        (path,) = cache.rglob(name)
        damaged = bytearray(path.read_bytes())
        damaged[-5] ^= 1
        path.write_bytes(damaged)
        again, work = prepared_with_count(data, study, cache)
        assert work == 8
        np.testing.assert_array_equal(again.images, first)
        path.unlink()
        assert prepared_with_count(data, study, cache)[1] == 8
    assert [path.name for path in cache.iterdir() if path.name.startswith(".making")] == []


def test_cache_belongs_to_its_input_and_its_data(png_masks: Any, make_study: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for changed in ({"size": [16, 16]}, {"size": [24, 16]}, {"normalisation": "minmax"}):
        study = make_study("2d", input=changed)
        data = load_data_set(png_masks.write(), study)
        assert prepared_with_count(data, study, cache)[1] == 8
    assert prepared_with_count(data.subset([1, 2]), study, cache)[1] == 2
    assert prepared_with_count(data, study, cache)[1] == 0


def test_cache_is_for_its_owner_and_holds_no_identifier(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study, cache = make_study("binary"), tmp_path / "cache"
    data = load_data_set(binary.write(), study, cache_dir=cache)
    prepare(data, study, cache)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert not any(b"Doe" in path.read_bytes() for path in files)
    assert cache.stat().st_mode & 0o077 == 0


def test_file_that_changes_after_its_check_is_refused(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    data = load_data_set(binary.write(), study)
    binary.put(binary.rows[6]["image"], 255 - binary.images[6])
    with pytest.raises(WardroundError, match="row 8 changed") as refused:
        prepare(data, study, tmp_path / "cache")
    assert refused.value.code == "WR-1107"
    (binary.folder / binary.rows[6]["image"]).unlink()
    with pytest.raises(WardroundError, match="row 8 became unusable"):
        prepare(data, study, tmp_path / "cache")
    binary.put(binary.rows[6]["image"], binary.images[6])
    prepare(data, study, tmp_path / "cache")


def test_cache_that_cannot_be_written(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    data = load_data_set(binary.write(), study)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WardroundError) as refused:
        prepare(data, study, tmp_path / "file" / "cache")
    assert refused.value.code == "WR-1122"
    prepare(data, study, tmp_path / "folder" / "cache")


def test_masks_of_a_classification_set_are_a_bug(binary: Any) -> None:
    data = load_data_set(binary.write(), None)
    with pytest.raises(ValueError, match="no masks"):
        native_mask(data.samples[0], data.manifest, data.labels)
