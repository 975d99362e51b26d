"""Checks of the split's parts and across sites."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from wardround.client.data.checks import check_parts
from wardround.client.data.samples import DataSet, load_data_set
from wardround.client.data.sites import check_sites
from wardround.client.data.split import Parts
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.study import Split

if TYPE_CHECKING:
    from pathlib import Path

PATIENTS = ["a", "a", "b", "c", "d", "d"]


def parts(train: list[int], validation: list[int], test: list[int]) -> Parts:
    return Parts(*(np.array(indices, dtype=np.int64) for indices in (train, validation, test)))


def test_parts() -> None:
    split = Split(validation=0.25, test=0.25, min_patients=1)
    check_parts(parts([0, 1, 2], [3], [4, 5]), PATIENTS, split)
    with pytest.raises(WardroundError) as shared:
        check_parts(parts([0, 2], [1, 3], [4, 5]), PATIENTS, split)
    assert shared.value.code == "WR-1120"
    with pytest.raises(WardroundError, match="test 0") as empty:
        check_parts(parts([0, 1, 2], [3, 4, 5], []), PATIENTS, split)
    assert empty.value.code == "WR-1117"
    with pytest.raises(WardroundError, match="validation 1, test 1"):
        check_parts(parts([0, 1, 2], [3], [4, 5]), PATIENTS, split.model_copy(update={"min_patients": 2}))


def test_parts_that_the_study_does_without() -> None:
    none = Split(validation=0.0, test=0.0, min_patients=2)
    check_parts(parts([0, 1, 2, 3, 4, 5], [], []), PATIENTS, none)
    with pytest.raises(WardroundError, match="train 0"):
        check_parts(parts([], [], []), PATIENTS, none)


def two_sites(site: Any, tmp_path: Path, study: Any) -> dict[SiteId, DataSet]:
    """The same images at two sites, brightened a little at the second, with other patients there."""
    other = tmp_path / "other"
    first = load_data_set(site.write(), study)
    shutil.copytree(site.folder, other)
    site.folder = other
    for row, image in zip(site.rows, site.images, strict=True):
        row["patient"] = f"other {row['patient']}"
        site.put(row["image"], np.minimum(image, 254) + np.uint8(1))
    return {SiteId("north"): first, SiteId("south"): load_data_set(site.write(), study)}


def test_sites_apart(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    assert check_sites(two_sites(binary, tmp_path, study), study) == []


def test_patient_at_two_sites(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    sites = two_sites(binary, tmp_path, study)
    binary.rows[7]["patient"] = "Doe-1"
    sites[SiteId("south")] = load_data_set(binary.write(), study)
    with pytest.raises(WardroundError, match="row 4 of north and row 9 of south") as refused:
        check_sites(sites, study)
    assert refused.value.code == "WR-1118"
    assert "Doe" not in str(refused.value)


@pytest.mark.parametrize(("value", "said"), [("no", "no image shows"), ("yes", "every image shows")])
def test_class_that_no_training_site_has(binary: Any, make_study: Any, tmp_path: Path, value: str, said: str) -> None:
    """The site that only tests has both classes, which does not help."""
    study = make_study("binary")
    sites = two_sites(binary, tmp_path, study)
    assert study.site_ids == ("north",)
    check_sites(sites, study)
    one_class = [
        i for i, sample in enumerate(sites[SiteId("north")].samples) if sample.targets == (int(value == "yes"),)
    ]
    sites[SiteId("north")] = sites[SiteId("north")].subset(one_class)
    with pytest.raises(WardroundError, match=said) as refused:
        check_sites(sites, study)
    assert refused.value.code == "WR-1119"


def test_same_image_at_two_sites_is_a_warning(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    sites = two_sites(binary, tmp_path, study)
    binary.put(binary.rows[0]["image"], binary.images[0])
    sites[SiteId("south")] = load_data_set(binary.write(), study)
    (warning,) = check_sites(sites, study)
    assert warning.startswith("1 image")
