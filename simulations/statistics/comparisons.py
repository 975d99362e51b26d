"""Paired tests of the federated arm against every other, Holm-corrected over tests of one kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from wardround.common.metrics import delong
from wardround.common.metrics.paired import holm, paired_t, wilcoxon
from wardround.common.metrics.resampling import centred_interval, interval, stratified_interval
from wardround.common.metrics.segmentation import mean_draws, paired_differences, patient_means
from wardround.simulations.results import Test
from wardround.simulations.statistics.cases import scored_cases
from wardround.simulations.statistics.outcomes import (
    joined,
    main_label,
    metrics_of,
    resamples,
    site_outcomes,
    sites_left_out,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from wardround.common.metrics.outcome import Floats, Outcome
    from wardround.common.study import Study
    from wardround.simulations.statistics.cases import Scored

FEDERATED: Final = "federated"
NOT_SCORED: Final = "one of the two arms has no predictions on this site"
INTERVAL_ONLY: Final = "interval only"
ALL_EQUAL: Final = "no p-value: the difference does not vary between patients"

Kind = Literal["clustered_delong", "wilcoxon", "paired_t", "stratified_bootstrap"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one test found, before Holm's correction."""

    kind: Kind
    patients: int = 0
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    p: float | None = None
    reason: str | None = None


def test_rows(
    cases: pd.DataFrame, study: Study, arms: Sequence[str], training_sites: Sequence[str], all_sites: Sequence[str]
) -> list[Test]:
    """Federated against every other arm on every site, in the task's main metric (AUROC or Dice).

    Classification: clustered DeLong. Segmentation: Wilcoxon and paired t on per-patient Dice. Then the
    difference of the mean, and of the worst, over ``training_sites``, with the interval of a bootstrap
    stratified by site and no p. Holm's correction runs over all p-values of one kind of test in the list.

    Raises:
        WardroundError: WR-1401 or WR-1402, see :func:`scored_cases`.
    """
    scored = scored_cases(cases, study, arms, all_sites)
    counts = resamples(scored, study)
    main = {key: _main_outcome(of, study, counts.get(key[1])) for key, of in scored.items()}
    others = [arm for arm in arms if arm != FEDERATED] if FEDERATED in arms else []
    found: list[tuple[str, str, Comparison]] = []
    for other in others:
        for site in all_sites:
            a, b = (FEDERATED, site), (other, site)
            if a not in scored or b not in scored:
                found += [(other, site, Comparison(kind, reason=NOT_SCORED)) for kind in _kinds(study)]
            elif study.task.kind == "classification":
                found.append((other, site, _auroc(scored[a], scored[b], main[a], main[b], study)))
            else:
                found += [(other, site, item) for item in _dice(scored[a], scored[b], counts.get(site), study)]
    for other in others:
        pairs = {site: (main.get((FEDERATED, site)), main.get((other, site))) for site in training_sites}
        found += [(other, summary, _over_sites(pairs, summary)) for summary in ("mean", "worst")]
    return _corrected(found, study)


def _corrected(found: Sequence[tuple[str, str, Comparison]], study: Study) -> list[Test]:
    adjusted: dict[int, float] = {}
    for kind in _kinds(study):
        tested = [(index, item.p) for index, (_, _, item) in enumerate(found) if item.kind == kind]
        known = [(index, p) for index, p in tested if p is not None]
        adjusted |= dict(zip([index for index, _ in known], holm([p for _, p in known]), strict=True))
    return [
        Test(
            a=FEDERATED,
            b=other,
            test_site=site,
            label=main_label(study),
            metric=metrics_of(study)[0],
            test=item.kind,
            patients=item.patients,
            difference=item.difference,
            ci95=item.ci95,
            p=item.p,
            p_holm=adjusted.get(index),
            reason=item.reason,
        )
        for index, (other, site, item) in enumerate(found)
    ]


def _kinds(study: Study) -> tuple[Kind, ...]:
    return ("clustered_delong",) if study.task.kind == "classification" else ("wilcoxon", "paired_t")


def _main_outcome(scored: Scored, study: Study, counts: Floats | None) -> Outcome:
    return site_outcomes(scored, study, counts)[main_label(study), metrics_of(study)[0]]


def _too_few(patients: int, study: Study) -> str | None:
    least = study.evaluation.test_min_patients
    return f"no p-value: {patients} patients, the study asks for {least}" if patients < least else None


def _auroc(a: Scored, b: Scored, of_a: Outcome, of_b: Outcome, study: Study) -> Comparison:
    patients = of_a.pooled_patients
    if of_a.value is None or of_b.value is None:
        return Comparison("clustered_delong", patients, reason=of_a.reason or of_b.reason)
    labels = [label for label in range(len(a.truth)) if 0 < a.truth[label].mean() < 1]
    few = _too_few(patients, study) or delong.too_few(a.truth[labels], a.cluster)
    p = None if few else (_components(a, labels) - _components(b, labels)).p_value()
    draws = None if of_a.draws is None or of_b.draws is None else of_a.draws - of_b.draws
    ci95, no_interval = (None, None) if draws is None else interval(draws, patients)
    reason = joined(of_a.reason, few or (ALL_EQUAL if p is None else None), no_interval)
    return Comparison("clustered_delong", patients, of_a.value - of_b.value, ci95, p, reason)


def _components(scored: Scored, labels: Sequence[int]) -> delong.Components:
    """The mean AUROC over models and labels with what each patient contributes to its error."""
    scores = scored.columns["score"]
    return delong.mean(
        [
            delong.components(scored.truth[label], scores[model, label], scored.cluster)
            for model in range(len(scores))
            for label in labels
        ]
    )


def _dice(a: Scored, b: Scored, counts: Floats | None, study: Study) -> list[Comparison]:
    per_patient = [patient_means(of.columns["dice"], of.cluster) for of in (a, b)]
    differences = paired_differences(*per_patient)
    known = differences[~np.isnan(differences)]
    patients = len(known)
    if not patients:
        return [Comparison(kind, reason="undefined for every patient") for kind in _kinds(study)]
    ci95, no_interval = (None, None) if counts is None else interval(mean_draws(differences, counts), patients)
    left_out = len(differences) - patients
    note = f"without {left_out} of {len(differences)} patients, where Dice is undefined" if left_out else None
    few = _too_few(patients, study)
    tested = {"wilcoxon": None if few else wilcoxon(known), "paired_t": None if few else paired_t(known)}
    return [
        Comparison(
            kind,
            patients,
            float(known.mean()),
            ci95,
            tested[kind],
            joined(note, few or (ALL_EQUAL if tested[kind] is None else None), no_interval),
        )
        for kind in _kinds(study)
    ]


def _over_sites(pairs: Mapping[str, tuple[Outcome | None, Outcome | None]], summary: str) -> Comparison:
    """The difference of the mean, or the worst, over sites; each site's patients resampled by themselves."""
    kept = {site: (a, b) for site, (a, b) in pairs.items() if a and b and None not in (a.value, b.value)}
    left_out = {site: None not in pair for site, pair in pairs.items() if site not in kept}
    if not kept:
        return Comparison("stratified_bootstrap", reason="undefined at every training site")
    combine = np.mean if summary == "mean" else np.min
    values = np.array([(a.value, b.value) for a, b in kept.values()], dtype=np.float64)
    of_a, of_b = combine(values, axis=0)
    difference = float(of_a - of_b)
    patients = [a.pooled_patients for a, _ in kept.values()]
    resampled = [(a.draws, b.draws) for a, b in kept.values() if a.draws is not None and b.draws is not None]
    ci95, no_interval = None, None
    if resampled:
        of_a, of_b = combine(np.array(resampled), axis=0)
        draws = of_a - of_b
        mean = summary == "mean"
        ci95, no_interval = (
            stratified_interval(draws, patients) if mean else centred_interval(draws, min(patients), difference)
        )
    reason = joined(INTERVAL_ONLY, sites_left_out(left_out), no_interval)
    return Comparison("stratified_bootstrap", sum(patients), difference, ci95, None, reason)
