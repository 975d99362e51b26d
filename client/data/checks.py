"""Checks of one site beyond its files: study against manifest, classes, parts of the split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardround.client.data.manifest import Manifest
    from wardround.client.data.split import Parts
    from wardround.common.study import Split, Study


def check_fit(manifest: Manifest, study: Study) -> None:
    """Whether the manifest offers what the study asks for.

    Raises:
        WardroundError: WR-1116, naming everything that does not fit.
    """
    found = list(_misfits(manifest, study))
    if found:
        raise WardroundError(
            "WR-1116", f"Study {study.name!r} and data {manifest.name!r} do not fit: {'; '.join(found)}."
        )


def _misfits(manifest: Manifest, study: Study) -> Iterator[str]:
    task, target = study.task, manifest.target
    wanted = task.target or task.kind
    if target.kind != wanted:
        yield f"the study's target is {wanted}, the manifest's {target.kind}"
    if manifest.dimensions != task.dimensions:
        yield f"the study is {task.dimensions}D, the images are {manifest.dimensions}D"
    offered = [channel.name for channel in manifest.channels]
    missing = [name for name in task.channels if name not in offered]
    if missing:
        yield f"the manifest has no channel {', '.join(missing)}"
    absent = [name for name in task.labels if name not in target.labels]
    if absent:
        yield f"the manifest maps nothing to the label {', '.join(absent)}"
    # a multilabel site may know more findings than the study asks for; other targets would lose samples or voxels
    surplus = [name for name in target.labels if name not in task.labels and target.kind != "multilabel"]
    if surplus:
        yield f"the study has no label {', '.join(surplus)}"
    if study.input.spacing_mm is not None and manifest.dimensions == 2 and manifest.spacing is None:
        yield "the study resamples to a pixel size, which the manifest does not give"


def missing_classes(labels: Sequence[str], strata: Sequence[tuple[int, ...]], kind: str) -> Iterator[str]:
    """One warning per class that no sample of a site has."""
    present = np.asarray(strata).reshape(len(strata), len(labels))
    for column, label in enumerate(labels):
        if not present[:, column].any():
            yield f"no image shows {label!r}: metrics of this label are undefined at this site"
        elif kind in ("binary", "multilabel") and present[:, column].all():
            yield f"every image shows {label!r}: AUROC and specificity of this label are undefined at this site"


def check_parts(parts: Parts, patients: Sequence[str], split: Split) -> None:
    """Whether a training site's parts keep patients together and are large enough.

    A part whose fraction the study sets to 0 may be empty.

    Raises:
        WardroundError: WR-1120, a patient is in two parts; WR-1117, a part has too few patients.
    """
    people = {name: {patients[index] for index in indices} for name, indices in parts.named()}
    if sum(len(members) for members in people.values()) != len(set().union(*people.values())):
        raise WardroundError("WR-1120", "The parts of the split share patients.")
    small = [
        f"{name} {len(members)}"
        for name, members in people.items()
        if len(members) < split.min_patients and not (getattr(split, name, 1.0) == 0 and not members)
    ]
    if small:
        message = f"Of {len(set(patients))} patients, the split leaves too few for: {', '.join(small)}"
        raise WardroundError("WR-1117", f"{message}; split.min_patients is {split.min_patients}.")
