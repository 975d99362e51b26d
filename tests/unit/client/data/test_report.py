"""The data report: counts that a person can check by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from wardround.client.data.decode import VOXELS_KEPT, spread_voxels
from wardround.client.data.prepare import prepare
from wardround.client.data.report import data_report
from wardround.client.data.samples import load_data_set
from wardround.client.data.split import Parts, split_patients

if TYPE_CHECKING:
    from pathlib import Path


def test_report_of_a_classification_set(binary: Any, make_study: Any, tmp_path: Path) -> None:
    study = make_study("binary")
    data = load_data_set(binary.write(), study)
    parts = split_patients(data.patients, data.strata, study.split)
    report = data_report(data, prepare(data, study, tmp_path / "cache"), parts)
    assert (report["patients"], report["images"]) == (4, 8)
    assert report["classes"] == {"abnormal": [2, 4]}
    assert report["parts"] == {"train": [2, 4], "validation": [1, 2], "test": [1, 2]}
    assert report["shape"] == [[20, 20, 20], [16, 16, 16]]
    assert report["spacing_mm"] is None
    assert report["digest"] == data.digest
    assert "Doe" not in json.dumps(report)


@pytest.mark.parametrize(("method", "ends"), [("zscore", (-4, 4)), ("minmax", (0, 1))])
def test_histograms(png_masks: Any, make_study: Any, tmp_path: Path, method: str, ends: tuple[int, int]) -> None:
    study = make_study("2d", input={"normalisation": method, "fit": "pad", "size": [32, 32]})
    data = load_data_set(png_masks.write(), study)
    report = data_report(data, prepare(data, study, tmp_path / "cache"), Parts.all_test(8))
    histogram = report["histogram"]
    assert (histogram["edges"][0], histogram["edges"][-1]) == ends
    assert sum(histogram["raw"]) == sum(histogram["normalised"]) == 8 * VOXELS_KEPT
    # uniform noise: no bin of padding stands out
    assert max(histogram["raw"]) < 8 * VOXELS_KEPT / 5
    assert report["parts"]["test"] == [4, 8]


def test_spread_voxels_visit_every_row_and_column() -> None:
    columns = np.broadcast_to(np.arange(224, dtype=np.float32), (224, 224))
    for image in (columns, columns.T):
        seen = spread_voxels(np.ascontiguousarray(image))
        assert len(seen) == VOXELS_KEPT
        counts, _ = np.histogram(seen, bins=8, range=(0, 224))
        assert counts.min() >= VOXELS_KEPT / 8 - 8
    np.testing.assert_array_equal(spread_voxels(columns[:2, :3]), [0, 1, 2, 0, 1, 2])


def test_spread_voxels_keep_the_distribution() -> None:
    image = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    seen = spread_voxels(image, 4000)
    assert abs(float(seen.mean())) < 0.05
    assert abs(float(seen.std()) - 1) < 0.05
