"""Tests of paired per-patient differences, and Holm's correction for testing many times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.metrics.outcome import Floats


_ROUNDING = 1e-12
"""Differences up to this are zero: means over seeds and labels leave rounding errors."""


def wilcoxon(differences: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Biometrics Bulletin 1:80, 1945).

    Zero differences are discarded. p is exact up to 50 patients, with tied differences up to 13, and
    else from the normal approximation with correction for ties. All differences zero: p = 1.
    """
    nonzero = differences[np.abs(differences) > _ROUNDING]
    if not len(nonzero):
        return 1.0
    return float(stats.wilcoxon(nonzero).pvalue)


def paired_t(differences: Floats) -> float | None:
    """Two-sided p of the paired t-test; 1 when all are zero, None when all are equal but not zero.

    Raises:
        ValueError: Fewer than two differences.
    """
    if len(differences) < 2:
        raise ValueError("a paired t-test needs two differences")
    if np.ptp(differences) <= _ROUNDING:
        return 1.0 if np.abs(differences).max() <= _ROUNDING else None
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Scand J Statist 6:65, 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]
