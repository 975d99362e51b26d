"""A small hospital on disk, and ways to spoil it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from wardround.common.study import Study, build_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = """
schema = 1
name = "north"
modality = "{modality}"
[table]
file = "table.csv"
[patient]
column = "patient"
[[channels]]
name = "image"
column = "image"
format = "{form}"
[target]
{target}
"""

MASKED = 'kind = "segmentation"\ncolumn = "mask"\nformat = "{form}"\nclasses = {{ "1" = "lobe", "7" = "lesion" }}'
BINARY = 'kind = "binary"\ncolumn = "finding"\nclasses = { "no" = "", "yes" = "abnormal" }'


class Site:
    """A data set of 8 samples of 4 patients in ``folder``; tests change rows, files and manifest."""

    def __init__(self, folder: Path, form: str, target: str, modality: str) -> None:
        self.folder = folder
        self.form = form
        self.suffix = ".png" if form == "png" else ".nii.gz"
        self.text = MANIFEST.format(form=form, target=target, modality=modality)
        rng = np.random.default_rng(5)
        shape = (20, 16) if form == "png" else (9, 10, 11)
        self.images = [rng.integers(0, 255, shape).astype(np.uint8) for _ in range(8)]
        self.masks = [rng.choice(np.array([0, 1, 7], np.uint8), shape) for _ in range(8)]
        self.rows = [
            {
                "patient": f"Doe-{i // 2}",
                "image": f"images/scan{i}{self.suffix}",
                "mask": f"masks/scan{i}{self.suffix}",
                "finding": ("yes", "no")[i // 4],
                "age": str(40 + i),
            }
            for i in range(8)
        ]
        for name in ("images", "masks"):
            (folder / name).mkdir()
        for row, image, mask in zip(self.rows, self.images, self.masks, strict=True):
            self.put(row["image"], image)
            self.put(row["mask"], mask)

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.toml"

    def put(self, name: str, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] | None = None) -> None:
        if self.form == "png":
            Image.fromarray(array).save(self.folder / name)
        else:
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), self.folder / name)

    def write(self) -> Path:
        self.manifest.write_text(self.text, encoding="utf-8")
        with (self.folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        return self.manifest


@pytest.fixture
def png_masks(tmp_path: Path) -> Site:
    return _site(tmp_path, "png", MASKED.format(form="png"), "MR")


@pytest.fixture
def nifti_masks(tmp_path: Path) -> Site:
    return _site(tmp_path, "nifti", MASKED.format(form="nifti"), "MR")


@pytest.fixture
def binary(tmp_path: Path) -> Site:
    return _site(tmp_path, "png", BINARY, "DX")


def _site(tmp_path: Path, form: str, target: str, modality: str) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder, form, target, modality)


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """A study by its task (``binary``, ``2d`` or ``3d`` segmentation) and changes to its input and split."""
    return _study


def _study(form: str, *, labels: tuple[str, ...] = ("lobe", "lesion"), **sections: dict[str, Any]) -> Study:
    if form == "binary":
        tasks: dict[str, Any] = {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2}
    else:
        tasks = {"kind": "segmentation", "labels": labels, "dimensions": int(form[0])}
    size = [16, 16] if tasks["dimensions"] == 2 else [12, 12, 12]
    return build_study(
        {
            "schema": 1,
            "name": "test",
            "title": "Test",
            "sites": ["north"],
            "task": tasks | sections.get("task", {}),
            "input": {"size": size} | sections.get("input", {}),
            "model": {"name": "small_cnn"},
            "training": {"rounds": 1, "epochs": 1, "loss": "bce" if form == "binary" else "dice_ce"},
            "split": {"validation": 0.25, "test": 0.25, "min_patients": 1} | sections.get("split", {}),
        }
    )
