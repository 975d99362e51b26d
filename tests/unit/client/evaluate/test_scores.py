"""Case rows and validation summaries, with small networks whose answers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from wardround.client.data.prepare import PreparedSet, prepare
from wardround.client.data.samples import DataSet, load_data_set
from wardround.client.evaluate.scores import case_rows, predict, predict_each, validation_summary
from wardround.client.train.device import choose_device
from wardround.common.study import Study, build_study

if TYPE_CHECKING:
    from pathlib import Path

CPU = choose_device("cpu")


class ByIntensity(torch.nn.Module):
    """Logits that follow the image: voxel by voxel, or its mean."""

    def __init__(self, outputs: int, *, voxels: bool) -> None:
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.linspace(-4, 4, outputs) if outputs > 1 else torch.tensor([4.0]))
        self.voxels = voxels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = images[:, :1] if self.voxels else images.flatten(1).mean(1, keepdim=True)
        return value * self.slopes.view(1, -1, *(1,) * (value.ndim - 2))


def study(task: dict[str, Any], size: tuple[int, ...], loss: str) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": {**task, "dimensions": len(size)},
            "input": {"size": size, "fit": "pad" if len(size) == 3 else "resize"},
            "model": {"name": "unet"},
            "training": {"rounds": 1, "epochs": 1, "batch_size": 4, "loss": loss},
        }
    )


BINARY = {"kind": "classification", "target": "binary", "labels": ["abnormal"]}


def classified(scores: list[float], targets: list[list[int]]) -> PreparedSet:
    """Images that are constant, so that the model's logit is four times the value given."""
    images = np.ones((len(scores), 1, 8, 8), np.float32) * np.array(scores, np.float32).reshape(-1, 1, 1, 1)
    patients = tuple(f"p{index // 2}" for index in range(len(scores)))
    return PreparedSet(images, None, np.array(targets, np.uint8), patients, tuple(range(2, len(scores) + 2)), ())


def pngs(folder: Path) -> DataSet:
    lines = ["image,patient,abnormal"]
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,p{number},{number % 2}")
    (folder / "table.csv").write_text("\n".join(lines))
    (folder / "manifest.toml").write_text(
        'schema = 1\nname = "drawn"\nmodality = "DX"\n[table]\nfile = "table.csv"\n[patient]\ncolumn = "patient"\n'
        '[[channels]]\nname = "image"\ncolumn = "image"\nformat = "png"\nunits = "arbitrary"\n'
        '[target]\nkind = "binary"\ncolumn = "abnormal"\nclasses = { "0" = "", "1" = "abnormal" }\n'
    )
    return load_data_set(folder / "manifest.toml", study(BINARY, (8, 8), "bce"))


def test_binary_rows(tmp_path: Path) -> None:
    plan, data = study(BINARY, (8, 8), "bce"), pngs(tmp_path)
    prepared = classified([-1.0, 0.0, 0.5], [[0], [1], [1]])
    model = ByIntensity(1, voxels=False)
    rows = case_rows(model, data, prepared, np.array([2, 0, 1]), plan, device=CPU, patient_key=str.upper)
    assert [(row.patient, row.sample, row.label) for row in rows] == [
        ("P1", "row-4", "abnormal"), ("P0", "row-2", "abnormal"), ("P0", "row-3", "abnormal"),
    ]  # fmt: skip
    assert [row.truth for row in rows] == [1, 0, 1]
    assert [row.predicted for row in rows] == [1, 0, 1]  # a probability of exactly one half counts
    assert [row.score for row in rows] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(4)), 0.5])
    assert {(row.dice, row.hd95_mm, row.volume_ml) for row in rows} == {(None, None, None)}
    assert not model.training


def test_multiclass_predicts_the_most_probable_label(tmp_path: Path) -> None:
    plan = study({"kind": "classification", "target": "multiclass", "labels": ["a", "b", "c"]}, (8, 8), "cross_entropy")
    prepared = classified([0.01, -1.0], [[0, 0, 1], [0, 1, 0]])
    rows = case_rows(
        ByIntensity(3, voxels=False), pngs(tmp_path), prepared, np.arange(2), plan, device=CPU, patient_key=str
    )
    assert [row.label for row in rows] == ["a", "b", "c"] * 2
    assert [row.predicted for row in rows] == [0, 0, 1, 1, 0, 0]  # although none reaches 0.5 in the first
    assert [row.truth for row in rows] == [0, 0, 1, 0, 1, 0]
    assert sum(row.score or 0 for row in rows[:3]) == pytest.approx(1.0)


def test_predictions_one_by_one_equal_all_at_once() -> None:
    plan = study(BINARY, (8, 8), "bce")
    prepared = classified(np.linspace(-1, 1, 9).tolist(), [[0]] * 9)
    model = ByIntensity(1, voxels=False)
    indices = np.array([8, 1, 0, 5, 5])
    whole = predict(model, prepared, indices, plan, CPU)
    assert whole.shape == (5, 1)
    assert whole.dtype == np.float32
    for one, all_at_once in zip(predict_each(model, prepared, indices, plan, CPU), whole, strict=True):
        np.testing.assert_array_equal(one, all_at_once)
    assert predict(model, prepared, indices[:0], plan, CPU).shape == (0, 1)


def test_validation_of_a_classifier() -> None:
    plan = study(BINARY, (8, 8), "bce")
    values, truth = [-0.5, 0.1, 0.1, 0.7, -0.2, 0.0], [0, 1, 0, 1, 1, 0]
    prepared = classified(values, [[value] for value in truth])
    summary = validation_summary(ByIntensity(1, voxels=False), prepared, np.arange(6), plan, CPU)
    logits = 4 * np.array(values)
    loss = np.mean(np.log1p(np.exp(logits)) - logits * np.array(truth))
    assert summary.loss == pytest.approx(loss, rel=1e-5)
    assert summary.metric == pytest.approx(roc_auc_score(truth, values))
    assert (summary.patients, summary.samples) == (3, 6)


def test_validation_without_negatives_has_no_auroc() -> None:
    plan = study(BINARY, (8, 8), "bce")
    prepared = classified([0.1, 0.2], [[1], [1]])
    summary = validation_summary(ByIntensity(1, voxels=False), prepared, np.arange(2), plan, CPU)
    assert summary.metric is None
    assert summary.loss is not None
    nothing = validation_summary(ByIntensity(1, voxels=False), prepared, np.arange(0), plan, CPU)
    assert (nothing.loss, nothing.metric, nothing.patients, nothing.samples) == (None, None, 0, 0)


def test_multilabel_auroc_is_the_mean_over_defined_labels() -> None:
    plan = study({"kind": "classification", "target": "multilabel", "labels": ["a", "b"]}, (8, 8), "bce")
    values, truth = [-0.5, 0.1, 0.3, 0.7], [[1, 1], [0, 1], [1, 1], [0, 1]]
    prepared = classified(values, truth)
    summary = validation_summary(ByIntensity(2, voxels=False), prepared, np.arange(4), plan, CPU)
    # Label a falls with the value, label b has no negatives.
    assert summary.metric == pytest.approx(roc_auc_score([1, 0, 1, 0], [0.5, -0.1, -0.3, -0.7]))


def volumes(folder: Path) -> tuple[DataSet, PreparedSet, Study]:
    """Two volumes of different size; the structure is where the image is bright, in the second only half of it."""
    lines = ["image,label,patient"]
    for number, shape in enumerate([(12, 10, 9), (8, 12, 12)]):
        image = np.zeros(shape, np.float32)
        image[2:6, 3:7, 2:6] = 100
        mask = (image > 0).astype(np.uint8)
        if number == 1:
            mask[4:] = 0
        affine = np.diag([2.0, 1.0, 1.0, 1.0])
        nib.save(nib.Nifti1Image(image, affine), folder / f"image{number}.nii.gz")  # type: ignore[no-untyped-call]
        nib.save(nib.Nifti1Image(mask, affine), folder / f"mask{number}.nii.gz")  # type: ignore[no-untyped-call]
        lines.append(f"image{number}.nii.gz,mask{number}.nii.gz,p{number}")
    (folder / "table.csv").write_text("\n".join(lines))
    (folder / "manifest.toml").write_text(
        'schema = 1\nname = "drawn"\nmodality = "MR"\n[table]\nfile = "table.csv"\n[patient]\ncolumn = "patient"\n'
        '[[channels]]\nname = "image"\ncolumn = "image"\nformat = "nifti"\nunits = "arbitrary"\n'
        '[target]\nkind = "segmentation"\ncolumn = "label"\nformat = "nifti"\nclasses = { "1" = "lesion" }\n'
    )
    plan = study({"kind": "segmentation", "labels": ["lesion"]}, (16, 16, 16), "dice_ce")
    data = load_data_set(folder / "manifest.toml", plan)
    return data, prepare(data, plan, folder / "cache"), plan


def test_segmentation_rows_are_scored_in_the_native_grid(tmp_path: Path) -> None:
    data, prepared, plan = volumes(tmp_path)
    rows = case_rows(ByIntensity(2, voxels=True), data, prepared, np.arange(2), plan, device=CPU, patient_key=str)
    assert [(row.patient, row.sample, row.label) for row in rows] == [
        ("p0", "row-2", "lesion"),
        ("p1", "row-3", "lesion"),
    ]
    exact, half = rows
    assert (exact.dice, exact.hd95_mm, exact.surface_dice, exact.volume_error_ml) == (1.0, 0.0, 1.0, 0.0)
    assert exact.volume_ml == pytest.approx(64 * 2 / 1000)
    assert half.dice == pytest.approx(2 / 3)
    assert half.hd95_mm == pytest.approx(4.0)  # two voxels of 2 mm
    assert half.volume_error_ml == pytest.approx(32 * 2 / 1000)
    assert {(row.truth, row.score, row.predicted) for row in rows} == {(None, None, None)}


def test_validation_of_a_segmentation(tmp_path: Path) -> None:
    data, prepared, plan = volumes(tmp_path)
    summary = validation_summary(ByIntensity(2, voxels=True), prepared, np.arange(2), plan, CPU)
    assert summary.metric == pytest.approx((1 + 2 / 3) / 2)
    assert (summary.patients, summary.samples) == (2, 2)
    assert summary.loss is not None
    assert summary.loss > 0
    shape = predict(ByIntensity(2, voxels=True), prepared, np.arange(2), plan, CPU).shape
    assert shape == (2, 2, 16, 16, 16)
    assert predict(ByIntensity(2, voxels=True), prepared, np.arange(0), plan, CPU).shape == (0, 2, 16, 16, 16)
    del data
