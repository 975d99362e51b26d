"""The patient-cluster bootstrap: patients are drawn, and all images of a patient come along.

A resample is a vector of counts, how often each patient was drawn; every metric is computed from
counts, for all resamples at once. Drawing clusters with replacement and keeping each whole is the
one-stage cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application, 1997,
section 3.8; Field & Welsh, J R Stat Soc B 69:369, 2007). Intervals are percentile intervals (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wardround.common.metrics.outcome import Floats

MAX_UNDEFINED = 0.05
"""Largest share of resamples in which a metric may be undefined before its interval is given up."""

MIN_PATIENTS = 5
"""Fewest patients for an interval: with fewer, a resample hardly ever leaves the patients seen."""

CHUNK = 64
"""Resamples worked on at a time, so that a block of images times resamples stays in the cache."""


def patient_counts(patients: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each patient is drawn in each resample: [patients, resamples], columns sum to ``patients``.

    Raises:
        ValueError: There is no patient, or no resample is asked for.
    """
    if patients < 1 or resamples < 1:
        message = "a bootstrap needs at least one patient and one resample"
        raise ValueError(message)
    drawn = rng.integers(patients, size=(resamples, patients))
    cells = drawn * resamples + np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=patients * resamples).reshape(patients, resamples).astype(np.float64)


def original(patients: int) -> Floats:
    """The counts of the sample itself, each patient once: [patients, 1]."""
    return np.ones((patients, 1))


def interval(draws: Floats, patients: int) -> tuple[tuple[float, float] | None, str | None]:
    """The 95% percentile interval of the resamples [B], or None and why there is none.

    Undefined (NaN) resamples are dropped; no interval is given when they are more than
    :data:`MAX_UNDEFINED` of all, with fewer than :data:`MIN_PATIENTS` patients, or when all
    resamples agree: then the bootstrap is blind (a sensitivity of 1 in the sample is 1 in every
    resample), and an interval of no width would claim certainty.
    """
    if patients < MIN_PATIENTS:
        return None, f"no interval: fewer than {MIN_PATIENTS} patients"
    kept = draws[~np.isnan(draws)]
    if len(kept) < (1 - MAX_UNDEFINED) * len(draws):
        return None, f"no interval: undefined in {1 - len(kept) / len(draws):.0%} of the resamples"
    if np.ptp(kept) <= 1e-12 * max(1.0, float(np.abs(kept).max())):
        return None, "no interval: every resample gives the same value"
    low, high = np.percentile(kept, [2.5, 97.5])
    return (float(low), float(high)), None
