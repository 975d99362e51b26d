"""``curves.json``: how good a model is at each epsilon, by trust model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from wardround.client.statement.cost import epsilon_of
from wardround.client.statement.rows import Row
from wardround.simulations.privacy.points import REFERENCE, Epsilon, Trust
from wardround.simulations.results import StudySummary
from wardround.simulations.statistics import metric_rows
from wardround.simulations.tables import MAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from wardround.common.study import Study
    from wardround.simulations.privacy.points import Point
    from wardround.simulations.results import Metric


class CurvePoint(Row):
    """One study of the curve.

    Attributes:
        point: Its name.
        trust: None: without a promise.
        epsilon: None: without a promise.
        delta: None: without a promise.
        noise_multiplier: Solved from epsilon; 0 at ``infinite``.
        steps: Of a study run.
        accounted_epsilon: What the noise really costs, a little below ``epsilon``; None without noise.
        study: Its id.
    """

    point: str
    trust: Trust | None
    epsilon: Epsilon | None
    delta: float | None
    noise_multiplier: float | None
    steps: int | None
    accounted_epsilon: float | None
    study: str


class CurveValue(Row):
    """The main metric of one point on one site's test patients.

    Attributes:
        point: Which point.
        test_site: A hospital, or ``mean`` over the training hospitals where the metric is defined.
        mean: Over seeds; None where undefined, with a ``reason``.
        low: Of the worst seed.
        high: Of the best seed.
        deviation: Standard deviation over seeds; None with one seed.
        by_seed: In the order of ``seeds``.
        of_reference: ``mean`` over the mean without a promise.
        patients: Test patients.
        reason: Why there is no value, or what it leaves out.
    """

    point: str
    test_site: str
    mean: float | None
    low: float | None
    high: float | None
    deviation: float | None
    by_seed: list[float | None]
    of_reference: float | None
    patients: int
    reason: str | None


class Curves(Row):
    """The whole of ``curves.json``.

    Attributes:
        study: The study whose epsilon and trust model were varied.
        metric: ``auroc`` or ``dice``.
        label: Of the metric: a class, or ``mean`` over classes.
        seeds: Of the trainings.
        data: Digest of each site's data.
        points: In the order of the curve; the one without a promise is last.
        values: For each point, each test site.
    """

    schema_: Literal[1] = Field(alias="schema", default=1)
    study: StudySummary
    metric: str
    label: str
    seeds: list[int]
    data: dict[str, str]
    points: list[CurvePoint]
    values: list[CurveValue]

    def value(self, point: str, site: str) -> CurveValue | None:
        """The value of a point at a site; None where there is none."""
        return next((row for row in self.values if (row.point, row.test_site) == (point, site)), None)


def collect_curves(
    cases: pd.DataFrame, study: Study, points: Sequence[Point], sites: Sequence[str], data: dict[str, str]
) -> Curves:
    """Score every point.

    Args:
        cases: ``cases.csv`` of all trainings, with the points' names for arms.
        study: The study of the curve.
        points: Its points.
        sites: Test sites in their order.
        data: Digest of each site's data.

    Raises:
        WardroundError: WR-1401 or WR-1402, the cases do not belong together.
    """
    plain = study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"intervals": False})})
    rows = metric_rows(cases, plain, [point.name for point in points], sites)
    metric, label = MAIN[study.task.kind], "mean" if len(study.task.labels) > 1 else study.task.labels[0]
    chosen = [row for row in rows if (row.metric, row.label, row.fold) == (metric, label, None)]
    seeds = sorted({int(seed) for seed in cases["seed"].unique()})
    places = [*sites, "mean"]
    values = [_value(point.name, site, chosen, seeds) for point in points for site in places]
    reference = {row.test_site: row.mean for row in values if row.point == REFERENCE}
    return Curves(
        study=StudySummary(id=study.id, name=study.name, task=study.task.kind, sites=list(study.sites)),
        metric=metric,
        label=label,
        seeds=seeds,
        data=data,
        points=[_point(point) for point in points],
        values=[_compared(row, reference[row.test_site]) for row in values],
    )


def _point(point: Point) -> CurvePoint:
    promise = point.study.privacy
    steps = None if promise is None else point.study.training.rounds * promise.local_steps
    return CurvePoint(
        point=point.name,
        trust=point.trust,
        epsilon=point.epsilon,
        delta=None if promise is None else promise.delta,
        noise_multiplier=None if promise is None else promise.noise_multiplier,
        steps=steps,
        accounted_epsilon=None if steps is None else epsilon_of(point.study, steps),
        study=point.study.id,
    )


def _value(point: str, site: str, rows: Sequence[Metric], seeds: Sequence[int]) -> CurveValue:
    own = [row for row in rows if (row.arm, row.test_site) == (point, site)]
    pooled = next(row for row in own if row.seed is None)
    by_seed = {row.seed: row.value for row in own}
    values = [by_seed.get(seed) for seed in seeds]
    known = [value for value in values if value is not None]
    return CurveValue(
        point=point,
        test_site=site,
        mean=float(np.mean(known)) if known else None,
        low=min(known, default=None),
        high=max(known, default=None),
        deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        by_seed=values,
        of_reference=None,
        patients=pooled.patients,
        reason=pooled.reason,
    )


def _compared(row: CurveValue, reference: float | None) -> CurveValue:
    if row.mean is None or not reference:
        return row
    return row.model_copy(update={"of_reference": row.mean / reference})
