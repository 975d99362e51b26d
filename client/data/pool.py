"""All data sets of a hospital as one: each is split by itself, their samples are counted through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wardround.client.data.prepare import PreparedSet, prepare
from wardround.client.data.registry import check_unchanged
from wardround.client.data.samples import DataSet, load_data_set
from wardround.client.data.split import Parts, split_patients
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.client.home import RegisteredData
    from wardround.common.study import Split, Study


@dataclass(frozen=True)
class SiteData:
    """A hospital's data sets for one study.

    Attributes:
        data: The data sets, checked.
        each: The same, prepared for the study's model.
        prepared: All of them one after the other.
    """

    data: tuple[DataSet, ...]
    each: tuple[PreparedSet, ...]
    prepared: PreparedSet
    _known_parts: dict[tuple[Split, int, int], Parts] = field(default_factory=dict, repr=False, compare=False)

    def parts(self, study: Study, fold: int, folds: int) -> Parts:
        """Training, validation and test samples; every data set is split by itself, and once."""
        key = (study.split, fold, folds)
        if key not in self._known_parts:
            self._known_parts[key] = _parts(self.data, study.split, fold if folds > 1 else None, folds)
        return self._known_parts[key]

    def patients(self, indices: NDArray[np.int64]) -> int:
        """Number of patients behind these samples."""
        return len({self.prepared.patients[index] for index in indices})

    def sources(self, indices: NDArray[np.int64]) -> Iterator[tuple[DataSet, PreparedSet, NDArray[np.int64]]]:
        """The samples by data set, with indices into that data set."""
        start = 0
        for data, prepared in zip(self.data, self.each, strict=True):
            end = start + len(prepared.rows)
            own = indices[(indices >= start) & (indices < end)] - start
            if len(own):
                yield data, prepared, own
            start = end


def open_site_data(registered: Sequence[RegisteredData], study: Study, home: Path) -> SiteData:
    """Check and prepare every data set of a hospital.

    Args:
        registered: The data sets; each is split by itself, so they must not share patients.
        study: What they are for.
        home: The hospital's folder: decoded images go to its ``cache``, details of problems into
            it where the data themselves are read-only.

    Raises:
        WardroundError: WR-11xx, a data set cannot be used for the study, or two share a patient; WR-1920, a manifest
            was changed since it was registered.
    """
    for item in registered:
        check_unchanged(item)
    cache = home / "cache"
    data = tuple(
        load_data_set(item.manifest, study, root=item.root, cache_dir=cache, work_dir=home) for item in registered
    )
    _refuse_shared_patients(data)
    each = tuple(prepare(item, study, cache) for item in data)
    return SiteData(data, each, each[0] if len(each) == 1 else _joined(each))


def _refuse_shared_patients(data: Sequence[DataSet]) -> None:
    seen: set[str] = set()
    for item in data:
        own = set(item.patients)
        if seen & own:
            raise WardroundError("WR-1118", f"{len(seen & own)} patients are in two data sets of this hospital.")
        seen |= own


def _joined(each: Sequence[PreparedSet]) -> PreparedSet:
    masks = [prepared.masks for prepared in each if prepared.masks is not None]
    return PreparedSet(
        images=np.concatenate([prepared.images for prepared in each]),
        masks=np.concatenate(masks) if masks else None,
        targets=np.concatenate([prepared.targets for prepared in each]),
        patients=tuple(patient for prepared in each for patient in prepared.patients),
        rows=tuple(row for prepared in each for row in prepared.rows),
        geometry=tuple(geometry for prepared in each for geometry in prepared.geometry),
    )


def _parts(data: Sequence[DataSet], split: Split, fold: int | None, folds: int) -> Parts:
    start = 0
    found: list[Parts] = []
    for item in data:
        own = split_patients(item.patients, item.strata, split, fold=fold, folds=folds)
        found.append(Parts(own.train + start, own.validation + start, own.test + start))
        start += len(item.samples)
    return Parts(*(np.concatenate([getattr(part, name) for part in found]) for name in Parts.__slots__))
