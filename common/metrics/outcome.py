"""A metric on one site's test patients: its value for every model scored, and its resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

LOWER_IS_BETTER = frozenset({"hd95_mm", "volume_error_ml", "ece"})
"""The metrics of which the worst site has the largest value."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One metric of one label for R models (seeds, or seeds times folds) on the same patients.

    Attributes:
        values: [R] the metric of each model; NaN where undefined.
        draws: [B] mean over the models in each bootstrap resample of patients; NaN where it is
            undefined there. None when nothing was resampled.
        patients: [R] number of patients behind each value.
        pooled_patients: Number of patients behind the mean over models.
        eligible: Number of patients the metric asks about; ``patients`` falls short of it where
            the metric is undefined for single patients.
        reason: Why the value is undefined, or what a reader must know about it.
    """

    values: Floats
    draws: Floats | None
    patients: Integers
    pooled_patients: int
    eligible: int
    reason: str | None = None

    @property
    def value(self) -> float | None:
        """Mean over the models; None when it is undefined for any of them."""
        return defined(float(self.values.mean()))

    def mean_of(self, models: Sequence[int]) -> float | None:
        """Mean over some of the models, by their positions in ``values``."""
        return defined(float(self.values[list(models)].mean()))


def defined(value: float) -> float | None:
    """``value``, or None when it is NaN."""
    return None if np.isnan(value) else value


def undefined(models: int, resamples: int | None, reason: str) -> Outcome:
    """The outcome of a metric that these patients cannot define, whatever the model."""
    return Outcome(
        values=np.full(models, np.nan),
        draws=None if resamples is None else np.full(resamples, np.nan),
        patients=np.zeros(models, dtype=np.int64),
        pooled_patients=0,
        eligible=0,
        reason=reason,
    )


def over_labels(outcomes: Sequence[Outcome], labels: Sequence[str]) -> Outcome:
    """Macro average: mean over the labels for which the metric is defined.

    Which labels are left out is said in ``reason``. A resample in which one of the averaged labels
    is undefined is undefined.
    """
    kept = [outcome for outcome in outcomes if outcome.value is not None]
    left_out = [label for label, outcome in zip(labels, outcomes, strict=True) if outcome.value is None]
    if not kept:
        resamples = None if outcomes[0].draws is None else len(outcomes[0].draws)
        return undefined(len(outcomes[0].values), resamples, "undefined for every label")
    return _average(kept, f"without {', '.join(left_out)}, where it is undefined" if left_out else None)


def _average(outcomes: Sequence[Outcome], reason: str | None) -> Outcome:
    draws = [outcome.draws for outcome in outcomes if outcome.draws is not None]
    return Outcome(
        values=np.mean([outcome.values for outcome in outcomes], axis=0),
        draws=np.mean(draws, axis=0) if draws else None,
        patients=np.max([outcome.patients for outcome in outcomes], axis=0),
        pooled_patients=max(outcome.pooled_patients for outcome in outcomes),
        eligible=max(outcome.eligible for outcome in outcomes),
        reason=reason,
    )
