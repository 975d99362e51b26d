"""Metric rows of results.json: per fold, per seed, pooled, and summarised over the training sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.metrics.outcome import LOWER_IS_BETTER, Outcome, defined
from wardround.common.metrics.resampling import interval
from wardround.simulations.results import Metric
from wardround.simulations.statistics.cases import scored_cases
from wardround.simulations.statistics.outcomes import MEAN_LABEL, joined, metrics_of, resamples, site_outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from wardround.common.metrics.outcome import Floats
    from wardround.common.study import Study
    from wardround.simulations.statistics.cases import Scored

SUMMARIES: Final = ("mean", "worst", "spread")
NOT_SCORED: Final = "no predictions of this arm on this site"

Interval = tuple[float, float]
Fitted = tuple[int | None, int | None]
"""Seed and fold of a row; None where pooled."""

POOLED: Final[Fitted] = (None, None)


@dataclass(frozen=True, slots=True)
class Place:
    """What a row is about."""

    arm: str
    test_site: str
    label: str
    metric: str


def metric_rows(cases: pd.DataFrame, study: Study, arms: Sequence[str], test_sites: Sequence[str]) -> list[Metric]:
    """Every metric of every arm on every test site, then the summaries over the training sites.

    Args:
        cases: The columns of cases.csv; one row per arm, seed, fold, test site, sample and label.
        study: Its labels, evaluation settings and training sites (``study.sites``).
        arms: Which arms, in the order of the rows.
        test_sites: Which sites, in the order of the rows.

    Raises:
        WardroundError: WR-1401 or WR-1402, see :func:`scored_cases`.
    """
    scored = scored_cases(cases, study, arms, test_sites)
    counts = resamples(scored, study)
    rows: list[Metric] = []
    for arm in arms:
        found = {site: scored[arm, site] for site in test_sites if (arm, site) in scored}
        outcomes = {site: site_outcomes(of, study, counts.get(site)) for site, of in found.items()}
        for site in test_sites:
            if site in found:
                rows += _site_rows(arm, site, found[site], outcomes[site], study)
            else:
                rows += [_row(place, POOLED, None, 0, reason=NOT_SCORED) for place in _places(arm, site, study)]
        trained = [site for site in test_sites if site in study.sites]
        if trained:
            rows += _summary_rows(arm, {site: outcomes.get(site, {}) for site in trained}, found, study)
    return rows


def _places(arm: str, site: str, study: Study) -> Iterator[Place]:
    several = (MEAN_LABEL,) if len(study.task.labels) > 1 else ()
    for label in (*study.task.labels, *several):
        for metric in metrics_of(study):
            yield Place(arm, site, label, metric)


def _row(
    place: Place,
    model: Fitted,
    value: float | None,
    patients: int,
    *,
    ci95: Interval | None = None,
    reason: str | None = None,
) -> Metric:
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


def _site_rows(
    arm: str, site: str, scored: Scored, outcomes: Mapping[tuple[str, str], Outcome], study: Study
) -> Iterator[Metric]:
    seeds = _seeds(scored)
    for place in _places(arm, site, study):
        outcome = outcomes[place.label, place.metric]
        ci95, why_not = _interval(outcome.value, outcome.draws, outcome.pooled_patients)
        note = _note(outcome, outcome.pooled_patients)
        yield _row(place, POOLED, outcome.value, outcome.pooled_patients, ci95=ci95, reason=joined(note, why_not))
        for seed, models in seeds.items():
            patients = int(outcome.patients[models].max())
            alone = ci95 if len(seeds) == 1 else None
            yield _row(
                place, (seed, None), outcome.mean_of(models), patients, ci95=alone, reason=_note(outcome, patients)
            )
    yield from _fold_rows(arm, site, scored, study)


def _fold_rows(arm: str, site: str, scored: Scored, study: Study) -> Iterator[Metric]:
    for model, fitted in enumerate(scored.models):
        for fold in np.unique(scored.folds[model]):
            if fold < 0:
                continue
            outcomes = site_outcomes(scored.part(model, int(fold)), study, None)
            for place in _places(arm, site, study):
                outcome = outcomes[place.label, place.metric]
                patients = outcome.pooled_patients
                note = _note(outcome, patients)
                yield _row(place, (fitted.seed, int(fold)), outcome.value, patients, reason=note)


def _seeds(scored: Scored) -> dict[int, list[int]]:
    """Seed -> positions of its models."""
    seeds: dict[int, list[int]] = {}
    for index, model in enumerate(scored.models):
        seeds.setdefault(model.seed, []).append(index)
    return seeds


def _note(outcome: Outcome, patients: int) -> str | None:
    partly = None
    if 0 < patients < outcome.eligible:
        partly = f"undefined for {outcome.eligible - patients} of {outcome.eligible} patients"
    return joined(outcome.reason, partly)


def _interval(value: float | None, draws: Floats | None, patients: int) -> tuple[Interval | None, str | None]:
    if value is None or draws is None:
        return None, None
    return interval(draws, patients)


def _summary_rows(
    arm: str, outcomes: Mapping[str, Mapping[tuple[str, str], Outcome]], found: Mapping[str, Scored], study: Study
) -> Iterator[Metric]:
    seeds = sorted({seed for of in found.values() for seed in _seeds(of)})
    for summary in SUMMARIES:
        for place in _places(arm, summary, study):
            by_site = {site: of.get((place.label, place.metric)) for site, of in outcomes.items()}
            kept = {site: of for site, of in by_site.items() if of is not None and of.value is not None}
            left_out = [site for site in outcomes if site not in kept]
            yield from _summary(place, kept, left_out, found, seeds)


def _summary(
    place: Place,
    kept: Mapping[str, Outcome],
    left_out: Sequence[str],
    found: Mapping[str, Scored],
    seeds: Sequence[int],
) -> Iterator[Metric]:
    reason = f"without {', '.join(left_out)}, where it is undefined" if left_out else None
    needed = 2 if place.test_site == "spread" else 1
    if len(kept) < needed:
        few = "undefined at every training site" if not kept else "defined at one training site only"
        yield from (_row(place, (seed, None), None, 0, reason=few) for seed in (None, *seeds))
        return
    combine = _combination(place)
    patients = sum(of.pooled_patients for of in kept.values())
    value = defined(float(combine(np.array([[of.value] for of in kept.values()], dtype=np.float64))[0]))
    draws = [of.draws for of in kept.values() if of.draws is not None]
    fewest = min(of.pooled_patients for of in kept.values())
    ci95, why_not = _interval(value, combine(np.array(draws)) if draws else None, fewest)
    yield _row(place, POOLED, value, patients, ci95=ci95, reason=joined(reason, why_not))
    for seed in seeds:
        values = [[of.mean_of(_seeds(found[site]).get(seed, []))] for site, of in kept.items()]
        of_seed = defined(float(combine(np.array(values, dtype=np.float64))[0]))
        yield _row(place, (seed, None), of_seed, patients, ci95=ci95 if len(seeds) == 1 else None, reason=reason)


def _combination(place: Place) -> Callable[[Floats], Floats]:
    """How sites [S, B] become one number: [B]."""
    if place.test_site == "mean":
        return lambda sites: np.asarray(sites.mean(axis=0))
    if place.test_site == "spread":
        return lambda sites: np.asarray(sites.std(axis=0, ddof=1))
    if place.metric in LOWER_IS_BETTER:
        return lambda sites: np.asarray(sites.max(axis=0))
    return lambda sites: np.asarray(sites.min(axis=0))
