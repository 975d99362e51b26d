"""What a metric row is about, and the row itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from wardround.simulations.results import Metric
from wardround.simulations.statistics.outcomes import MEAN_LABEL, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.common.metrics.resampling import Interval
    from wardround.common.study import Study

SeedFold: TypeAlias = tuple[int | None, int | None]
"""Seed and fold of a row; None where pooled."""

POOLED: Final[SeedFold] = (None, None)


@dataclass(frozen=True, slots=True)
class Place:
    """What a row is about."""

    arm: str
    test_site: str
    label: str
    metric: str


def places(arm: str, site: str, study: Study) -> Iterator[Place]:
    """Every label, then the mean over labels where there are several; for each, every metric."""
    several = (MEAN_LABEL,) if len(study.task.labels) > 1 else ()
    for label in (*study.task.labels, *several):
        for metric in metrics_of(study):
            yield Place(arm, site, label, metric)


def row(
    place: Place,
    model: SeedFold,
    value: float | None,
    patients: int,
    *,
    ci95: Interval | None = None,
    reason: str | None = None,
) -> Metric:
    """One row of ``Results.metrics``."""
    return Metric(
        arm=place.arm,
        test_site=place.test_site,
        label=place.label,
        metric=place.metric,
        seed=model[0],
        fold=model[1],
        value=value,
        ci95=ci95,
        patients=patients,
        reason=reason,
    )
