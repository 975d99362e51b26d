"""The case table as arrays: one arm's models on one site's test samples, checked and aligned.

A model is a seed, or a seed and fold. Where each fold tested other patients (the site's own test parts
of a k-fold study), the out-of-fold predictions of a seed are pooled and make one model; where every fold
tested the same patients (a site never trained on), each fold is a model of its own, because averaging
scores over folds would measure an ensemble that the study does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.errors import WardroundError
from wardround.common.metrics import segmentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from wardround.common.metrics.outcome import Floats, Integers
    from wardround.common.study import Study

CLASSIFICATION: Final = ("truth", "score", "predicted")
_KEYS: Final = ("arm", "seed", "fold", "test_site", "patient", "sample", "label")


@dataclass(frozen=True, slots=True)
class FittedModel:
    """Which trained model a row of ``Scored.columns`` belongs to; fold None when folds are pooled."""

    seed: int
    fold: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One arm's R models on the n test samples of one site.

    Attributes:
        models: The R models, by seed, then fold.
        samples: [n] sample names, sorted.
        patients: The patients' keys; ``cluster`` [n] holds each sample's position in it.
        folds: [R, n] the fold whose model scored the sample; -1 without folds.
        columns: Column name -> [R, L, n], labels in the study's order.
    """

    models: tuple[FittedModel, ...]
    samples: tuple[str, ...]
    patients: tuple[str, ...]
    cluster: Integers
    folds: Integers
    columns: Mapping[str, Floats]

    @property
    def truth(self) -> Integers:
        """[L, n] 0 or 1; the same for all models."""
        truth: Integers = self.columns["truth"][0].astype(np.int64)
        return truth

    @property
    def seeds(self) -> dict[int, list[int]]:
        """Seed -> the positions of its models."""
        found: dict[int, list[int]] = {}
        for index, model in enumerate(self.models):
            found.setdefault(model.seed, []).append(index)
        return found

    def part(self, model: int, fold: int) -> Scored:
        """One model on the samples of one fold."""
        kept = self.folds[model] == fold
        present, cluster = np.unique(self.cluster[kept], return_inverse=True)
        return Scored(
            models=(FittedModel(self.models[model].seed, fold),),
            samples=tuple(name for name, keep in zip(self.samples, kept, strict=True) if keep),
            patients=tuple(self.patients[index] for index in present),
            cluster=cluster,
            folds=self.folds[model : model + 1, kept],
            columns={name: value[model : model + 1, :, kept] for name, value in self.columns.items()},
        )


def scored_cases(
    cases: pd.DataFrame, study: Study, arms: Sequence[str], sites: Sequence[str]
) -> dict[tuple[str, str], Scored]:
    """Every (arm, test site) of ``cases`` among those asked for; pairs without rows are absent.

    Raises:
        WardroundError: WR-1401, the table cannot be used; WR-1402, models or arms were not scored on
            the same samples.
    """
    columns = CLASSIFICATION if study.task.kind == "classification" else segmentation.METRICS
    _check_columns(cases, columns)
    cases = cases[cases["arm"].isin(list(arms)) & cases["test_site"].isin(list(sites))]
    _check_values(cases, study, columns)
    found = {}
    for (arm, site), rows in cases.groupby(["arm", "test_site"], sort=False):
        found[str(arm), str(site)] = _scored(rows, study, columns, f"{arm} on {site}")
    _check_same_samples(found)
    return found


def _check_columns(cases: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in (*_KEYS, *columns) if name not in cases.columns]
    if missing:
        raise WardroundError("WR-1401", f"The case table lacks the columns {', '.join(missing)}.")


def _check_values(cases: pd.DataFrame, study: Study, columns: Sequence[str]) -> None:
    empty = [name for name in _KEYS if name != "fold" and cases[name].isna().any()]
    unknown = set(cases["label"]) - set(study.task.labels)
    if empty or unknown:
        what = f"empty cells in {', '.join(empty)}" if empty else "labels that the study does not have"
        raise WardroundError("WR-1401", f"The case table has {what}.")
    for name in columns:
        if not _in_range(name, _numbers(cases, name)):
            raise WardroundError("WR-1401", f"The case table has impossible values in column {name}.")


def _numbers(cases: pd.DataFrame, name: str) -> Floats:
    """A column as float64, empty cells as NaN."""
    try:
        return cases[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise WardroundError("WR-1401", f"The case table has text in column {name}, where numbers belong.") from error


def _in_range(name: str, values: Floats) -> bool:
    """Truth and decision 0 or 1, probabilities and overlaps 0 to 1, distances from 0; empty where undefined."""
    if name in ("truth", "predicted"):
        return bool(np.isin(values, (0, 1)).all())
    if name == "score":
        return bool(((values >= 0) & (values <= 1)).all())
    known = values[~np.isnan(values)]
    most = 1.0 + 1e-6 if name in ("dice", "surface_dice") else np.finfo(np.float64).max
    return bool(((known >= 0) & (known <= most)).all())


def _scored(rows: pd.DataFrame, study: Study, columns: Sequence[str], where: str) -> Scored:
    """Rows of one arm and site in any order -> arrays [models, labels, samples]."""
    samples, sample = np.unique(rows["sample"].to_numpy(dtype=str), return_inverse=True)
    patients, patient = np.unique(rows["patient"].to_numpy(dtype=str), return_inverse=True)
    position = {name: index for index, name in enumerate(study.task.labels)}
    label = rows["label"].map(position).to_numpy(dtype=np.int64)
    seed, fold = _numbers(rows, "seed"), np.nan_to_num(_numbers(rows, "fold"), nan=-1)
    models, model = _models(seed, fold, cells=len(samples) * len(position))
    shape = (len(models), len(position), len(samples))
    place = np.ravel_multi_index((model, label, sample), shape)
    if len(rows) != np.prod(shape) or len(np.unique(place)) != len(rows):
        raise WardroundError("WR-1402", f"The models of {where} were not all scored once on the same samples.")
    order = np.argsort(place)
    clusters = patient[order].reshape(shape)
    ordered = {name: _numbers(rows, name)[order].reshape(shape) for name in columns}
    if (clusters != clusters[0, 0]).any() or ("truth" in ordered and (ordered["truth"] != ordered["truth"][0]).any()):
        raise WardroundError("WR-1402", f"The models of {where} disagree on a sample's patient or truth.")
    return Scored(
        models=models,
        samples=tuple(str(name) for name in samples),
        patients=tuple(str(name) for name in patients),
        cluster=clusters[0, 0],
        folds=fold[order].reshape(shape)[:, 0].astype(np.int64),
        columns=ordered,
    )


def _models(seed: Floats, fold: Floats, cells: int) -> tuple[tuple[FittedModel, ...], Integers]:
    """The models, and [rows] which of them each row belongs to; ``cells`` are the rows one model has.

    More rows than one model's a seed: then every fold scored the same samples.
    """
    repeated = len(seed) > cells * len(np.unique(seed))
    pairs = np.stack([seed, fold if repeated else np.full_like(fold, -1)], axis=1).astype(np.int64)
    unique, model = np.unique(pairs, axis=0, return_inverse=True)
    return tuple(FittedModel(int(s), None if f < 0 else int(f)) for s, f in unique), model.ravel()


def _check_same_samples(found: Mapping[tuple[str, str], Scored]) -> None:
    first: dict[str, Scored] = {}
    seeds = next((set(of.seeds) for of in found.values()), set())
    for (arm, site), scored in found.items():
        other = first.setdefault(site, scored)
        same = scored.models == other.models and scored.samples == other.samples and scored.patients == other.patients
        same = same and bool((scored.cluster == other.cluster).all()) and set(scored.seeds) == seeds
        if same and "truth" in scored.columns:
            same = bool((scored.truth == other.truth).all())
        if not same:
            raise WardroundError("WR-1402", f"Arm {arm} was not scored on the same samples of {site} as the others.")
