"""Metric rows of results.json for each arm and site: pooled, per seed, per fold; then the summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.metrics.classification import NO_CALIBRATION_INTERVAL
from wardround.common.metrics.resampling import interval
from wardround.simulations.statistics.cases import scored_cases
from wardround.simulations.statistics.outcomes import joined, resamples, site_outcomes
from wardround.simulations.statistics.places import POOLED, places, row
from wardround.simulations.statistics.summaries import summary_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from wardround.common.metrics.outcome import Outcome
    from wardround.common.metrics.resampling import Interval
    from wardround.common.study import Study
    from wardround.simulations.results import Metric
    from wardround.simulations.statistics.cases import Scored

NOT_SCORED: Final = "no predictions of this arm on this site"


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
    trained = [site for site in test_sites if site in study.sites]
    rows: list[Metric] = []
    for arm in arms:
        found = {site: scored[arm, site] for site in test_sites if (arm, site) in scored}
        outcomes = {site: site_outcomes(of, study, counts.get(site)) for site, of in found.items()}
        for site in test_sites:
            if site in found:
                rows += _pooled_rows(arm, site, found[site], outcomes[site], study)
                rows += _fold_rows(arm, site, found[site], study)
            else:
                rows += [row(place, POOLED, None, 0, reason=NOT_SCORED) for place in places(arm, site, study)]
        rows += summary_rows(arm, {site: outcomes.get(site, {}) for site in trained}, found, study)
    return rows


def _pooled_rows(
    arm: str, site: str, scored: Scored, outcomes: Mapping[tuple[str, str], Outcome], study: Study
) -> Iterator[Metric]:
    for place in places(arm, site, study):
        outcome = outcomes[place.label, place.metric]
        ci95, no_interval = _interval(outcome, study)
        note = _note(outcome, outcome.value, outcome.pooled_patients)
        yield row(place, POOLED, outcome.value, outcome.pooled_patients, ci95=ci95, reason=joined(note, no_interval))
        for seed, models in scored.seeds.items():
            value, patients = outcome.mean_of(models), int(outcome.patients[models].max())
            alone = ci95 if len(scored.seeds) == 1 else None
            yield row(place, (seed, None), value, patients, ci95=alone, reason=_note(outcome, value, patients))


def _interval(outcome: Outcome, study: Study) -> tuple[Interval | None, str | None]:
    if outcome.value is None or not study.evaluation.intervals:
        return None, None
    if outcome.draws is None:
        return None, NO_CALIBRATION_INTERVAL
    return interval(outcome.draws, outcome.pooled_patients)


def _note(outcome: Outcome, value: float | None, patients: int) -> str | None:
    """What a reader must know: why there is no value, or how many patients it says nothing about."""
    if outcome.reason is None and value is None:
        return "undefined for every patient"
    short = outcome.eligible - patients
    partly = f"undefined for {short} of {outcome.eligible} patients" if value is not None and short else None
    return joined(outcome.reason, partly)


def _fold_rows(arm: str, site: str, scored: Scored, study: Study) -> Iterator[Metric]:
    for model, fitted in enumerate(scored.models):
        for fold in (int(number) for number in np.unique(scored.folds[model]) if number >= 0):
            outcomes = site_outcomes(scored.part(model, fold), study, None)
            for place in places(arm, site, study):
                outcome = outcomes[place.label, place.metric]
                note = _note(outcome, outcome.value, outcome.pooled_patients)
                yield row(place, (fitted.seed, fold), outcome.value, outcome.pooled_patients, reason=note)
