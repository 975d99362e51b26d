"""The patient-level split: deterministic, stratified, and blind to the order of the table.

Patients are put in a fixed order: by stratum (which labels any of their images shows), inside a
stratum by SHA-256 of the seed and the identifier. Parts are then taken at even steps along that
order, so that every stratum gives its share to within one patient. Folds are every K-th patient.
All arithmetic is on whole numbers; there is no random generator.

An independent split asks nothing of the other patients: SHA-256 of the seed and the identifier is a point on a line of
length 1; the test part takes the first piece of it, validation the next. Under differential privacy nothing else will
do: in an ordered split one patient more moves hundreds of others between the parts, and noise for one patient covers
one patient.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from wardround.common.study import Split


_BITS: Final = 256
_FINE: Final = 52
"""Points lie on 2^256 places; shares are rounded to 2^52 of them."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Sample indices of each part: int64, sorted, disjoint, together all samples."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def named(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """The parts with their names, in the order train, validation, test."""
        yield "train", self.train
        yield "validation", self.validation
        yield "test", self.test

    @classmethod
    def all_test(cls, samples: int) -> Parts:
        """A site that only tests."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, np.arange(samples, dtype=np.int64))


def split_patients(
    patients: Sequence[str], strata: Sequence[tuple[int, ...]], split: Split, *, fold: int | None = None, folds: int = 1
) -> Parts:
    """Split the samples of one site so that no patient is in two parts.

    Args:
        patients: Patient of each sample.
        strata: Labels of each sample, 0 or 1; a patient's stratum is the maximum over their samples.
        split: Fractions of the patients and the seed.
        fold: With ``folds`` above 1, which fold is the test part, from 0; ``split.test`` is then ignored
            and validation patients are taken from the other folds.
        folds: Number of folds; every patient is in the test part of exactly one.

    Returns:
        The parts; whether they are large enough is :func:`wardround.client.data.checks.check_parts`.

    Raises:
        ValueError: The arguments contradict one another (a bug in the caller).
    """
    if len(patients) != len(strata):
        raise ValueError("one stratum per sample is needed")
    if (fold is None) != (folds == 1) or (fold is not None and not 0 <= fold < folds):
        raise ValueError("fold must be given with folds above 1, from 0 to folds - 1")
    if split.independent:
        return _independent(patients, split, fold, folds)
    order = _ordered(patients, strata, split.seed)
    test = _every(order, folds, fold) if fold is not None else _spread(order, _count(split.test, len(order)))
    rest = [patient for patient in order if patient not in test]
    validation = _spread(rest, min(len(rest), _count(split.validation, len(order))))
    return _parts(patients, test, validation)


def _independent(patients: Sequence[str], split: Split, fold: int | None, folds: int) -> Parts:
    """Each patient's part from a point of their own; with folds, a fold is a piece of the line, the rest one again."""
    known = set(patients)
    points = {patient: int.from_bytes(_rank(patient, split.seed), "big") for patient in known}
    if fold is None:
        test = {patient for patient in known if points[patient] < _threshold(split.test)}
        held = _threshold(split.test + split.validation)
        return _parts(patients, test, {patient for patient in known - test if points[patient] < held})
    test = {patient for patient in known if points[patient] * folds >> _BITS == fold}
    share = min(1.0, split.validation * folds / (folds - 1))
    again = {patient: int.from_bytes(_rank(patient, f"{split.seed} validation"), "big") for patient in known - test}
    return _parts(patients, test, {patient for patient, point in again.items() if point < _threshold(share)})


def _threshold(share: float) -> int:
    """The whole number of points below a share of the line, from 0 to 1."""
    return math.floor(math.ldexp(share, _FINE)) << (_BITS - _FINE)


def _ordered(patients: Sequence[str], strata: Sequence[tuple[int, ...]], seed: int) -> list[str]:
    stratum: dict[str, tuple[int, ...]] = {}
    for patient, labels in zip(patients, strata, strict=True):
        known = stratum.get(patient, labels)
        stratum[patient] = tuple(max(pair) for pair in zip(known, labels, strict=True))
    return sorted(stratum, key=lambda patient: (stratum[patient], _rank(patient, seed)))


def _rank(patient: str, salt: int | str) -> bytes:
    return hashlib.sha256(f"wardround split {salt}|{patient}".encode()).digest()


def _count(fraction: float, patients: int) -> int:
    """Number of patients of a part, rounded half up."""
    return int(fraction * patients + 0.5)


def _spread(order: Sequence[str], count: int) -> set[str]:
    """``count`` patients at even steps along the order."""
    total = len(order)
    return {patient for i, patient in enumerate(order) if (i + 1) * count // total > i * count // total}


def _every(order: Sequence[str], folds: int, fold: int) -> set[str]:
    return {patient for i, patient in enumerate(order) if i % folds == fold}


def _parts(patients: Sequence[str], test: set[str], validation: set[str]) -> Parts:
    where = np.array([2 if one in test else 1 if one in validation else 0 for one in patients], dtype=np.int64)
    train, chosen, held_out = (np.flatnonzero(where == part).astype(np.int64) for part in (0, 1, 2))
    return Parts(train, chosen, held_out)
