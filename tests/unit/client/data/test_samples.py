"""Loading a data set: what is wrong is refused with its rows, details stay at the site."""

from __future__ import annotations

import csv
import math
import os
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from wardround.client.data.problems import ROWS_NAMED
from wardround.client.data.samples import load_data_set
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardround.common.study import Study

MakeStudy = Any


def refused(manifest: Path, study: Study | None = None, **options: Any) -> WardroundError:
    with pytest.raises(WardroundError) as caught:
        load_data_set(manifest, study, **options)
    return caught.value


def details(manifest: Path) -> list[dict[str, str]]:
    with (manifest.parent / "manifest.problems.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_samples_of_a_classification_set(binary: Any) -> None:
    data = load_data_set(binary.write(), None)
    assert [sample.row for sample in data.samples] == list(range(2, 10))
    assert data.patients == tuple(f"Doe-{i // 2}" for i in range(8))
    assert data.strata == ((1,),) * 4 + ((0,),) * 4
    assert data.labels == ("abnormal",)
    assert data.warnings == ()
    assert data.samples[3].channels == ((binary.folder / "images" / "scan3.png").resolve(),)


def test_samples_of_a_segmentation_set(nifti_masks: Any) -> None:
    nifti_masks.put("masks/scan2.nii.gz", np.where(nifti_masks.masks[2] == 7, 0, nifti_masks.masks[2]).astype(np.uint8))
    data = load_data_set(nifti_masks.write(), None)
    assert data.strata == ((1, 1), (1, 1), (1, 0), *((1, 1),) * 5)
    assert {facts.shape for facts in data.facts} == {(9, 10, 11)}
    assert {facts.spacing_mm for facts in data.facts} == {(1.0, 1.0, 1.0)}


Spoil = dict[str, Any]


def _nan(site: Any) -> None:
    volume = site.images[2].astype(np.float32)
    volume[1, 1, 1] = math.nan
    site.put(site.rows[2]["image"], volume)


def _shifted(site: Any) -> None:
    site.put(site.rows[2]["mask"], site.masks[2], np.diag([1, 1, 1.2, 1]))


def _halves(site: Any) -> None:
    site.put(site.rows[2]["mask"], site.masks[2].astype(np.float32) / 2)


def _file(field: str, data: bytes) -> Callable[[Any], None]:
    return lambda site: (site.folder / site.rows[2][field]).write_bytes(data)


def _array(field: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda site: site.put(site.rows[2][field], make(site))


def _cell(field: str, value: str) -> Callable[[Any], None]:
    return lambda site: site.rows[2].update({field: value})


def _outside(site: Any) -> None:
    target = site.folder.parent / "outside"
    (site.folder / site.rows[2]["image"]).rename(target)
    (site.folder / site.rows[2]["image"]).symlink_to(target)


def _pipe(site: Any) -> None:
    (site.folder / site.rows[2]["image"]).unlink()
    os.mkfifo(site.folder / site.rows[2]["image"])


SPOILED: list[tuple[str, Callable[[Any], None], str, str]] = [
    ("image missing", lambda site: (site.folder / site.rows[2]["image"]).unlink(), "image", "WR-1107"),
    ("mask missing", lambda site: (site.folder / site.rows[2]["mask"]).unlink(), "mask", "WR-1107"),
    ("image is a folder", _cell("image", "images"), "image", "WR-1107"),
    ("image is a pipe", _pipe, "image", "WR-1107"),
    ("image unreadable", _file("image", b"not an image"), "image", "WR-1107"),
    ("mask unreadable", _file("mask", b""), "mask", "WR-1107"),
    ("path absolute", _cell("image", "/etc/hostname"), "image", "WR-1108"),
    ("path upwards", _cell("mask", "../site/masks/scan2.png"), "mask", "WR-1108"),
    ("link to the outside", _outside, "image", "WR-1108"),
    ("mask of another shape", _array("mask", lambda site: site.masks[2][:-1]), "mask", "WR-1109"),
    ("mask value outside", _array("mask", lambda site: np.full_like(site.masks[2], 3)), "mask", "WR-1110"),
    ("image constant", _array("image", lambda site: np.full_like(site.images[2], 9)), "image", "WR-1123"),
    ("image twice", lambda site: site.rows[2].update(image=site.rows[1]["image"]), "image", "WR-1114"),
    ("no patient", _cell("patient", ""), "patient", "WR-1115"),
    ("spaces around the patient", _cell("patient", "Doe-1 "), "patient", "WR-1115"),
    ("no path", _cell("image", ""), "image", "WR-1115"),
]


@pytest.mark.parametrize(("spoil", "column", "code"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_one_spoiled_row(png_masks: Any, spoil: Callable[[Any], None], column: str, code: str) -> None:
    load_data_set(png_masks.write(), None)
    spoil(png_masks)
    error = refused(png_masks.write())
    assert error.code == code
    assert "1 problem in row 4:" in error.what
    assert [(line["row"], line["column"], line["code"]) for line in details(png_masks.manifest)] == [
        ("4", column, code)
    ]


@pytest.mark.parametrize(
    ("spoil", "column", "code"),
    [(_nan, "image", "WR-1111"), (_shifted, "mask", "WR-1109"), (_halves, "mask", "WR-1110")],
)
def test_one_spoiled_volume(nifti_masks: Any, spoil: Callable[[Any], None], column: str, code: str) -> None:
    load_data_set(nifti_masks.write(), None)
    spoil(nifti_masks)
    error = refused(nifti_masks.write())
    assert (error.code, details(nifti_masks.manifest)[0]["column"]) == (code, column)


def test_infinite_and_too_large_numbers_are_refused(nifti_masks: Any) -> None:
    volume = nifti_masks.images[2].astype(np.float64)
    for value, fine in ((3e38, True), (1e39, False), (-math.inf, False)):
        volume[0, 0, 0] = value
        nifti_masks.put(nifti_masks.rows[2]["image"], volume)
        if fine:
            load_data_set(nifti_masks.write(), None)
        else:
            assert refused(nifti_masks.write()).code == "WR-1111"


def test_label_outside_the_classes(binary: Any) -> None:
    binary.rows[5]["finding"] = "maybe"
    error = refused(binary.write())
    assert error.code == "WR-1110"
    assert "row 7" in error.what


@pytest.mark.parametrize(
    ("column", "value", "fine"),
    [
        ('type = "number"', "12.5", True),
        ('type = "number"', "", True),
        ('type = "number"', "old", False),
        ('type = "number"', "nan", False),
        ('type = "category"\ncategories = ["f", "m"]', "m", True),
        ('type = "category"\ncategories = ["f", "m"]', "M", False),
    ],
)
def test_tabular_columns(binary: Any, column: str, value: str, *, fine: bool) -> None:
    binary.text += f'\n[[tabular]]\nname = "extra"\ncolumn = "extra"\n{column}\n'
    for row in binary.rows:
        row["extra"] = ""
    binary.rows[0]["extra"] = value
    if fine:
        found = load_data_set(binary.write(), None).samples[0].tabular
        assert found == ({"": None, "12.5": 12.5}.get(value, value),)
    else:
        assert refused(binary.write()).code == "WR-1115"


@pytest.mark.parametrize(("value", "fine"), [("0.7", True), ("0", False), ("-1", False), ("", False), ("wide", False)])
def test_spacing_of_a_column(binary: Any, value: str, *, fine: bool) -> None:
    binary.text += '\n[spacing]\ncolumn = "mm"\n'
    for row in binary.rows:
        row["mm"] = value
    if fine:
        assert load_data_set(binary.write(), None).facts[0].spacing_mm == (0.7, 0.7)
    else:
        assert refused(binary.write()).code == "WR-1115"


def test_all_problems_at_once_without_patient_data(png_masks: Any) -> None:
    for row in png_masks.rows[:6]:
        (png_masks.folder / row["image"]).unlink()
    png_masks.put(png_masks.rows[7]["mask"], np.full_like(png_masks.masks[7], 3))
    error = refused(png_masks.write())
    found = details(png_masks.manifest)
    assert error.code == "WR-1106"
    assert "7 problems in rows 2, 3, 4, 5, 6, …" in error.what
    assert "(6)" in error.what
    assert "(1)" in error.what
    assert len(found) == 7 > ROWS_NAMED
    assert found[0]["value"] == "scan0.png"
    assert not any(word in str(error) for word in ("Doe", "scan"))


def test_details_are_for_the_owner_alone_and_inert_in_a_spreadsheet(binary: Any) -> None:
    binary.rows[0]["finding"] = "=1+1"
    refused(binary.write())
    path = binary.folder / "manifest.problems.csv"
    assert path.stat().st_mode & 0o077 == 0
    assert details(binary.manifest)[0]["value"] == "'=1+1"


def test_details_go_to_the_work_folder_when_the_data_folder_is_closed(binary: Any, tmp_path: Path) -> None:
    binary.rows[0]["finding"] = "maybe"
    binary.write()
    (binary.folder / "manifest.problems.csv").mkdir()
    assert "could not be written" in refused(binary.manifest).what
    error = refused(binary.manifest, work_dir=tmp_path / "work")
    path = tmp_path / "work" / "manifest.problems.csv"
    assert str(path) in error.what
    assert path.is_file()


def test_root_can_differ_from_the_manifests_folder(binary: Any, tmp_path: Path) -> None:
    moved = tmp_path / "manifest.toml"
    binary.write().rename(moved)
    assert refused(moved).code == "WR-1103"
    assert len(load_data_set(moved, None, root=binary.folder).samples) == 8


@pytest.mark.parametrize(
    ("task", "sections", "said"),
    [
        ("2d", {"labels": ("lobe", "lesion")}, None),
        ("2d", {"labels": ("lesion", "lobe")}, None),
        ("2d", {"labels": ("lobe",)}, "no label lesion"),
        ("2d", {"labels": ("lobe", "lesion", "cyst")}, "nothing to the label cyst"),
        ("2d", {"task": {"channels": ["flair"]}}, "no channel flair"),
        ("2d", {"input": {"spacing_mm": [1, 1]}}, "pixel size"),
        ("3d", {}, "3D"),
        ("binary", {}, "target is binary"),
    ],
)
def test_study_and_data_fit(
    png_masks: Any, make_study: MakeStudy, task: str, sections: dict[str, Any], said: str | None
) -> None:
    study = make_study(task, **sections)
    if said is None:
        assert load_data_set(png_masks.write(), study).labels == study.task.labels
    else:
        error = refused(png_masks.write(), study)
        assert error.code == "WR-1116"
        assert said in error.what


def test_images_are_never_cut(png_masks: Any, make_study: MakeStudy) -> None:
    for size, fine in (([20, 16], True), ([19, 16], False)):
        study = make_study("2d", input={"fit": "pad", "size": size})
        if fine:
            load_data_set(png_masks.write(), study)
        else:
            error = refused(png_masks.write(), study)
            assert error.code == "WR-1121"
            assert "20 x 16 voxels, input.size is 19 x 16" in error.what


def test_absent_class_is_a_warning(binary: Any) -> None:
    for value, said in (("no", "no image shows 'abnormal'"), ("yes", "every image shows 'abnormal'")):
        for row in binary.rows:
            row["finding"] = value
        (warning,) = load_data_set(binary.write(), None).warnings
        assert said in warning


def test_copies_under_another_name_are_a_warning(binary: Any) -> None:
    binary.put(binary.rows[7]["image"], binary.images[0])
    (warning,) = load_data_set(binary.write(), None).warnings
    assert warning.startswith("1 image is a byte-for-byte copy")


def test_digest_follows_everything_that_is_used_and_nothing_else(binary: Any) -> None:
    first = load_data_set(binary.write(), None).digest
    binary.rows[0]["age"] = "99"
    assert load_data_set(binary.write(), None).digest == first
    seen = {first}
    binary.rows[0]["finding"] = "no"
    seen.add(load_data_set(binary.write(), None).digest)
    binary.rows[0]["patient"] = "Roe"
    seen.add(load_data_set(binary.write(), None).digest)
    binary.put(binary.rows[0]["image"], 255 - binary.images[0])
    seen.add(load_data_set(binary.write(), None).digest)
    binary.text = binary.text.replace('name = "north"', 'name = "south"')
    seen.add(load_data_set(binary.write(), None).digest)
    assert len(seen) == 5


def test_subset(binary: Any) -> None:
    data = load_data_set(binary.write(), None)
    part = data.subset([0, 1, 2])
    assert [sample.row for sample in part.samples] == [2, 3, 4]
    assert "every image" in part.warnings[0]
    assert part.digest != data.digest == data.subset(range(8)).digest


def test_findings_are_remembered_until_a_file_changes(png_masks: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    decoded: list[int] = []

    def load() -> Any:
        decoded.clear()
        return load_data_set(
            png_masks.write(), None, cache_dir=cache, progress=lambda done, _total: decoded.append(done)
        )

    first = load()
    assert decoded == list(range(1, 9))
    again = load()
    assert decoded == []
    assert again == first
    for kept in cache.iterdir():
        kept.write_text(kept.read_text(encoding="utf-8").replace("1", "2", 1), encoding="utf-8")
    assert load() == first
    assert len(decoded) == 8
    png_masks.put(png_masks.rows[0]["image"], 255 - png_masks.images[0])
    assert load().digest != first.digest
    assert len(decoded) == 8
    (png_masks.folder / png_masks.rows[0]["image"]).unlink()
    assert refused(png_masks.manifest, cache_dir=cache).code == "WR-1107"


def test_data_folder_stays_as_it_is(png_masks: Any, tmp_path: Path) -> None:
    png_masks.write()
    before = {path: path.stat().st_mtime_ns for path in png_masks.folder.rglob("*")}
    load_data_set(png_masks.manifest, None, cache_dir=tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in png_masks.folder.rglob("*")} == before


def test_two_channels_must_share_a_grid(nifti_masks: Any) -> None:
    nifti_masks.text = nifti_masks.text.replace(
        "[target]", '[[channels]]\nname = "second"\ncolumn = "second"\nformat = "nifti"\n[target]'
    )
    for i, row in enumerate(nifti_masks.rows):
        row["second"] = f"images/second{i}.nii.gz"
        nifti_masks.put(row["second"], nifti_masks.images[i])
    assert len(load_data_set(nifti_masks.write(), None).samples[0].channels) == 2
    shifted = np.eye(4)
    shifted[0, 3] = 1
    nibabel.save(nibabel.Nifti1Image(nifti_masks.images[0], shifted), nifti_masks.folder / "images/second0.nii.gz")
    error = refused(nifti_masks.write())
    assert error.code == "WR-1109"
    assert details(nifti_masks.manifest)[0]["column"] == "second"
