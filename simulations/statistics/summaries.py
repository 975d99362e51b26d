"""Mean, worst and spread over the training sites, as rows.

They combine the sites where the metric is defined, and name the others. Each site's patients are
resampled by themselves; the mean has a percentile interval, worst and spread a centred one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.metrics.classification import NO_CALIBRATION_INTERVAL
from wardround.common.metrics.outcome import LOWER_IS_BETTER
from wardround.common.metrics.resampling import centred_interval, stratified_interval
from wardround.simulations.statistics.outcomes import joined, sites_left_out
from wardround.simulations.statistics.places import POOLED, places, row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wardround.common.metrics.outcome import Floats, Outcome
    from wardround.common.metrics.resampling import Interval
    from wardround.common.study import Study
    from wardround.simulations.results import Metric
    from wardround.simulations.statistics.cases import Scored
    from wardround.simulations.statistics.places import Place

SUMMARIES: Final = ("mean", "worst", "spread")
UNBOUNDED: Final = frozenset({"hd95_mm", "volume_error_ml"})


def summary_rows(
    arm: str, outcomes: Mapping[str, Mapping[tuple[str, str], Outcome]], scored: Mapping[str, Scored], study: Study
) -> Iterator[Metric]:
    """The summary rows of one arm; none when no training site is among the test sites.

    Args:
        arm: The arm.
        outcomes: Training site -> (label, metric) -> outcome; {} where the arm was not scored.
        scored: Site -> its cases, for the seeds.
        study: For the metrics and whether intervals are wanted.
    """
    if not outcomes:
        return
    seeds = {seed: models for site, of in scored.items() if site in outcomes for seed, models in of.seeds.items()}
    for summary in SUMMARIES:
        for place in places(arm, summary, study):
            by_site = {site: of.get((place.label, place.metric)) for site, of in outcomes.items()}
            kept = {site: of for site, of in by_site.items() if of is not None and of.value is not None}
            few = _too_few(summary, len(kept))
            if few:
                yield from (row(place, (seed, None), None, 0, reason=few) for seed in (None, *seeds))
                continue
            note = sites_left_out({site: bool(of) for site, of in outcomes.items() if site not in kept})
            by_seed = {seed: [of.mean_of(scored[site].seeds[seed]) for site, of in kept.items()] for seed in seeds}
            yield from _summary(place, list(kept.values()), by_seed, note, study)


def _too_few(summary: str, sites: int) -> str | None:
    if sites == 0:
        return "undefined at every training site"
    return "defined at one training site only" if summary == "spread" and sites == 1 else None


def _summary(
    place: Place,
    outcomes: Sequence[Outcome],
    by_seed: Mapping[int, Sequence[float | None]],
    note: str | None,
    study: Study,
) -> Iterator[Metric]:
    patients = sum(of.pooled_patients for of in outcomes)
    value = float(combined(place, np.array([of.value for of in outcomes], dtype=np.float64)))
    ci95, no_interval = _interval(place, outcomes, value) if study.evaluation.intervals else (None, None)
    yield row(place, POOLED, value, patients, ci95=ci95, reason=joined(note, no_interval))
    for seed, values in by_seed.items():
        of_seed = float(combined(place, np.array(values, dtype=np.float64)))
        yield row(place, (seed, None), of_seed, patients, ci95=ci95 if len(by_seed) == 1 else None, reason=note)


def _interval(place: Place, outcomes: Sequence[Outcome], value: float) -> tuple[Interval | None, str | None]:
    resampled = [of.draws for of in outcomes if of.draws is not None]
    if not resampled:
        return None, NO_CALIBRATION_INTERVAL
    draws, patients = combined(place, np.array(resampled)), [of.pooled_patients for of in outcomes]
    if place.test_site == "mean":
        return stratified_interval(draws, patients)
    found, no_interval = centred_interval(draws, min(patients), value)
    most = np.inf if place.metric in UNBOUNDED else 1.0
    return (None if found is None else (max(0.0, found[0]), min(most, found[1]))), no_interval


def combined(place: Place, sites: Floats) -> Floats:
    """Sites [S, ...] to one number [...]; the spread is the standard deviation with S - 1."""
    if place.test_site == "mean":
        return np.asarray(sites.mean(axis=0))
    if place.test_site == "spread":
        return np.asarray(sites.std(axis=0, ddof=1))
    worst = np.max if place.metric in LOWER_IS_BETTER else np.min
    return np.asarray(worst(sites, axis=0))
