"""From a manifest to checked samples: whatever is wrong with a data set is found here, before training.

Every row is judged, every file is decoded once, and all problems are reported together: the error
names row numbers, the details go to a file at the site (:mod:`wardround.client.data.problems`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wardround.client.data.checks import check_fit, missing_classes
from wardround.client.data.decode import CaseFacts
from wardround.client.data.examine import examine, too_large
from wardround.client.data.manifest import Manifest, load_manifest
from wardround.client.data.problems import Problem, refuse
from wardround.client.data.rows import Sample, parse_row
from wardround.client.data.table import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardround.common.study import Study

__all__ = ["CaseFacts", "DataSet", "Sample", "load_data_set"]


@dataclass(frozen=True)
class DataSet:
    """A data set after all checks.

    Attributes:
        manifest: As declared by the site.
        labels: The labels in the order of every label axis: the study's, or without a study the manifest's.
        samples: In the order of the table.
        facts: What decoding each sample showed, in the same order.
        warnings: Things to know that do not prevent training, without patient data.
    """

    manifest: Manifest
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    facts: tuple[CaseFacts, ...]
    warnings: tuple[str, ...]

    @property
    def digest(self) -> str:
        """``sha256:`` over the manifest, the values of the used rows and the bytes of all images and masks."""
        state = hashlib.sha256(json.dumps(self.manifest.model_dump(mode="json"), sort_keys=True).encode())
        for sample, facts in zip(self.samples, self.facts, strict=True):
            values = [sample.patient, sample.targets, sample.tabular, sample.spacing_mm, facts.digests]
            state.update(json.dumps(values).encode())
        return f"sha256:{state.hexdigest()}"

    @property
    def patients(self) -> tuple[str, ...]:
        """The raw patient identifier of every sample."""
        return tuple(sample.patient for sample in self.samples)

    @property
    def strata(self) -> tuple[tuple[int, ...], ...]:
        """Per sample and label 1 where the label is present, else 0: what the split balances."""
        return tuple(facts.present for facts in self.facts)

    def subset(self, indices: Sequence[int]) -> DataSet:
        """The samples at ``indices``, for partitions of one data set into several sites."""
        samples = tuple(self.samples[index] for index in indices)
        facts = tuple(self.facts[index] for index in indices)
        part = replace(self, samples=samples, facts=facts, warnings=())
        return replace(part, warnings=tuple(_warnings(part)))


def load_data_set(
    manifest_path: Path,
    study: Study | None,
    *,
    root: Path | None = None,
    cache_dir: Path | None = None,
    work_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DataSet:
    """Read a manifest and everything that it names, and refuse what is wrong.

    Args:
        manifest_path: The manifest (TOML).
        study: The study that the data are for; without one, only the data themselves are judged.
        root: The data folder; the manifest's own folder when not given. No file outside is opened.
        cache_dir: What decoding finds is remembered here, so that unchanged files are only hashed next time.
        work_dir: Where the details of problems go if the manifest's folder is read-only.
        progress: Told (samples done, samples in all) after each decoded sample.

    Raises:
        WardroundError: WR-1101 to WR-1116, WR-1121 to WR-1123.
    """
    manifest = load_manifest(manifest_path)
    if study is not None:
        check_fit(manifest, study)
    labels = study.task.labels if study is not None else manifest.target.labels
    folders = [manifest_path.resolve().parent, *([work_dir] if work_dir is not None else [])]
    samples = _parse(manifest, labels, root or manifest_path.parent, manifest_path.stem, folders)
    facts, problems = examine(samples, manifest, labels, cache_dir=cache_dir, progress=progress)
    refuse(problems, manifest_path.stem, folders)
    if study is not None:
        refuse(too_large(samples, facts, manifest, study.input), manifest_path.stem, folders)
    data = DataSet(manifest, labels, samples, facts, ())
    return replace(data, warnings=tuple(_warnings(data)))


def _parse(
    manifest: Manifest, labels: Sequence[str], root: Path, stem: str, folders: Sequence[Path]
) -> tuple[Sample, ...]:
    """Step 1: rows to samples. Duplicates are judged here, before any image is opened."""
    rows, images_root = read_rows(manifest, root)
    parsed = [parse_row(row, manifest, labels, root.resolve(), images_root) for row in rows]
    samples = tuple(one for one in parsed if isinstance(one, Sample))
    problems = [problem for one in parsed if not isinstance(one, Sample) for problem in one]
    refuse([*problems, *_duplicates(samples, manifest)], stem, folders)
    return samples


def _duplicates(samples: Sequence[Sample], manifest: Manifest) -> list[Problem]:
    first: dict[Path, int] = {}
    found = []
    for sample in samples:
        path = sample.channels[0]
        earlier = first.setdefault(path, sample.row)
        if earlier != sample.row:
            reason = f"names the same image as row {earlier}"
            found.append(Problem(sample.row, manifest.channels[0].column, "WR-1114", reason, path.name))
    return found


def _warnings(data: DataSet) -> list[str]:
    found = list(missing_classes(data.labels, data.strata, data.manifest.target.kind))
    images = len(data.manifest.channels)
    copies = sum(count - 1 for count in Counter(facts.digests[:images] for facts in data.facts).values())
    if copies:
        amount = "1 image is a byte-for-byte copy" if copies == 1 else f"{copies} images are byte-for-byte copies"
        found.append(f"{amount} of another one under a different name")
    return found
