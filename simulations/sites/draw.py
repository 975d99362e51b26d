"""A phantom hospital on disk: drawn patients, seen through the hospital's scanner."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.data.manifest import (
    Channel,
    ColumnTarget,
    Manifest,
    MultilabelTarget,
    Patient,
    SegmentationTarget,
    Spacing,
    Table,
    Target,
)
from wardround.common.errors import WardroundError
from wardround.simulations.sites.chest import FIELD_OF_VIEW_MM as CHEST_MM
from wardround.simulations.sites.chest import draw_chests
from wardround.simulations.sites.organ import FIELD_OF_VIEW_MM, STRUCTURES, draw_organs
from wardround.simulations.sites.phantom import CaseMix
from wardround.simulations.sites.scanner import Scanner, scan
from wardround.simulations.sites.write import write_image, write_manifest, write_mask, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Task
    from wardround.simulations.scenario import VirtualSite
    from wardround.simulations.sites.phantom import Cohort, Phantom

FINDINGS = ("abnormal", "nodule", "opacity")
"""0/1 columns of a chest phantom's table."""

CLASSES = ("none", "nodule", "opacity", "both")
"""Classes of a chest phantom's column ``finding``."""


def phantom_target(phantom: Phantom, task: Task) -> Target:
    """How the phantom's table answers the study's task.

    Raises:
        WardroundError: WR-1010, the phantom knows no such task or labels.
    """
    if phantom.kind == "organ" and task.kind == "segmentation" and task.labels == STRUCTURES:
        classes = {str(value): name for value, name in enumerate(STRUCTURES, start=1)}
        return SegmentationTarget(kind="segmentation", column="mask", format="nifti", classes=classes)
    if phantom.kind == "chest" and task.target in ("binary", "multilabel") and set(task.labels) <= set(FINDINGS):
        if task.target == "binary":
            return ColumnTarget(kind="binary", column=task.labels[0], classes={"0": "", "1": task.labels[0]})
        return MultilabelTarget(kind="multilabel", findings={label: label for label in task.labels})
    if phantom.kind == "chest" and task.target == "multiclass" and set(task.labels) == set(CLASSES):
        return ColumnTarget(kind="multiclass", column="finding", classes={name: name for name in CLASSES})
    raise WardroundError(
        "WR-1010",
        f"The {phantom.kind} phantom cannot answer this task. chest: binary or multilabel with labels of "
        f"{', '.join(FINDINGS)}, or multiclass with {', '.join(CLASSES)}; "
        f"organ: segmentation of {', '.join(STRUCTURES)}.",
    )


def draw(phantom: Phantom, site: VirtualSite, task: Task, folder: Path) -> None:
    """Write manifest, table, images and masks of one phantom hospital into ``folder``.

    Raises:
        WardroundError: WR-1010, the phantom cannot answer the task.
        ValueError: The site has no number of patients.
    """
    target = phantom_target(phantom, task)
    cohort = _cohort(phantom, site)
    rows = [_write_case(cohort, index, site, folder) for index in range(len(cohort.images))]
    write_table(folder / "table.csv", rows)
    write_manifest(folder / "manifest.toml", _manifest(phantom, site.name, target))


def _cohort(phantom: Phantom, site: VirtualSite) -> Cohort:
    if site.patients is None or site.prevalence is None:
        raise ValueError("a phantom site has patients and prevalence")
    rng = _generator(phantom.seed, site.name)
    if phantom.kind == "organ":
        return draw_organs(phantom, site.patients, site.prevalence, rng)
    return draw_chests(phantom, site.patients, site.prevalence, site.case_mix or CaseMix(), rng)


def _generator(seed: int, site: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}|{site}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _write_case(cohort: Cohort, index: int, site: VirtualSite, folder: Path) -> dict[str, object]:
    volume = cohort.images[index].ndim == 3
    name = f"{index + 1:05d}{'.nii' if volume else '.png'}"
    affine = np.diag([*(FIELD_OF_VIEW_MM / n for n in cohort.images[index].shape), 1.0]) if volume else None
    image = scan(cohort.images[index], site.scanner or Scanner(), site=site.name, key=name)
    write_image(folder / "images" / name, image, affine)
    row: dict[str, object] = {"image": f"images/{name}", "patient": f"{site.name}-{cohort.patients[index] + 1:04d}"}
    row |= {finding: int(values[index]) for finding, values in cohort.findings.items()}
    if "nodule" in cohort.findings:
        row["finding"] = CLASSES[int(cohort.findings["nodule"][index]) + 2 * int(cohort.findings["opacity"][index])]
    if cohort.masks is not None:
        write_mask(folder / "masks" / name, cohort.masks[index], affine)
        row["mask"] = f"masks/{name}"
    return row


def _manifest(phantom: Phantom, site: str, target: Target) -> Manifest:
    chest = phantom.kind == "chest"
    return Manifest(
        schema=1,
        name=site,
        modality="DX" if chest else "MR",
        table=Table(file="table.csv"),
        patient=Patient(column="patient"),
        channels=(Channel(name="image", column="image", format="png" if chest else "nifti"),),
        target=target,
        spacing=Spacing(mm=(CHEST_MM / phantom.size[0], CHEST_MM / phantom.size[1])) if chest else None,
    )
