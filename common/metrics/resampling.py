"""The patient-cluster bootstrap: patients are drawn, and all images of a patient come along.

A resample is a vector of counts, how often each patient was drawn; every metric is computed from
counts, for all resamples at once. Drawing clusters with replacement and keeping each whole is the
one-stage cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application, 1997,
section 3.8; Field & Welsh, J R Stat Soc B 69:369, 2007). Intervals are percentile intervals (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3), except :func:`centred_interval`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.metrics.outcome import Floats

Interval: TypeAlias = tuple[float, float]

MAX_UNDEFINED = 0.05
"""Largest share of resamples in which a metric may be undefined before its interval is given up."""

MIN_PATIENTS = 5
"""Fewest patients for an interval: with fewer, a resample hardly ever leaves the patients seen."""

CHUNK = 64
"""Resamples worked on at a time, so that a block of images times resamples stays in the cache."""

_ROUNDING = 1e-12


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


def interval(draws: Floats, patients: int) -> tuple[Interval | None, str | None]:
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
    if np.ptp(kept) <= _ROUNDING * max(1.0, float(np.abs(kept).max())):
        return None, "no interval: every resample gives the same value"
    low, high = np.percentile(kept, [2.5, 97.5])
    return (float(low), float(high)), None


def stratified_interval(draws: Floats, patients: Sequence[int]) -> tuple[Interval | None, str | None]:
    """:func:`interval` of a mean over sites whose patients, so many at each, were resampled by themselves.

    A site with n patients contributes (n - 1) / n of its variance, so that a site with a handful makes
    the interval too narrow, which is said; a site with one patient contributes none, and is refused.
    """
    if min(patients) < 2:
        return None, "no interval: a site has a single patient"
    found, reason = interval(draws, sum(patients))
    if found is not None and min(patients) < MIN_PATIENTS:
        reason = f"interval somewhat too narrow: a site has {min(patients)} patients"
    return found, reason


def centred_interval(draws: Floats, patients: int, value: float) -> tuple[Interval | None, str | None]:
    """The percentile interval's longer arm, laid to both sides of ``value``.

    For the worst site and the spread between sites. Resampling noise makes a minimum smaller and a
    standard deviation larger than they are, so that the percentile interval sits on one side of
    where it should: between equal sites it never contains the true spread of zero. This one covers
    both the percentile and the basic interval (2 value - high, 2 value - low).
    """
    found, reason = interval(draws, patients)
    if found is None:
        return None, reason
    arm = max(found[1] - value, value - found[0])
    return (value - arm, value + arm), None
