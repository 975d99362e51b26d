"""Every metric of one arm on one site, by label, with its bootstrap resamples."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.metrics import classification, segmentation
from wardround.common.metrics.outcome import Outcome, over_labels
from wardround.common.metrics.resampling import patient_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.metrics.outcome import Floats
    from wardround.common.study import Study
    from wardround.simulations.statistics.cases import Scored

MEAN_LABEL = "mean"


def metrics_of(study: Study) -> tuple[str, ...]:
    """The metrics of the study's kind of task, the main one first."""
    return classification.METRICS if study.task.kind == "classification" else segmentation.METRICS


def main_label(study: Study) -> str:
    """The label that arms are compared on: the only one, or the mean over labels."""
    return study.task.labels[0] if len(study.task.labels) == 1 else MEAN_LABEL


def resamples(scored: Mapping[tuple[str, str], Scored], study: Study) -> dict[str, Floats]:
    """The bootstrap resamples of each site's patients: [patients, study.evaluation.bootstrap]; {} without intervals.

    They follow from the study's split seed and the site's name alone: all arms see the same resamples
    (differences between arms are then paired), whatever other sites there are.
    """
    if not study.evaluation.intervals:
        return {}
    sizes = {site: len(of.patients) for (_, site), of in scored.items()}
    return {
        site: patient_counts(patients, study.evaluation.bootstrap, _generator(study, site))
        for site, patients in sizes.items()
    }


def _generator(study: Study, site: str) -> np.random.Generator:
    salt = hashlib.sha256(f"bootstrap|{study.split.seed}|{site}".encode()).digest()
    return np.random.default_rng(int.from_bytes(salt[:16], "big"))


def joined(*parts: str | None) -> str | None:
    """Several reasons as one."""
    return "; ".join(part for part in parts if part) or None


def site_outcomes(scored: Scored, study: Study, counts: Floats | None) -> dict[tuple[str, str], Outcome]:
    """(label, metric) -> outcome, with the mean over labels where there are several."""
    by_label = [_label_outcomes(scored, index, study, counts) for index in range(len(study.task.labels))]
    found = {
        (label, metric): outcome
        for label, outcomes in zip(study.task.labels, by_label, strict=True)
        for metric, outcome in outcomes.items()
    }
    if len(by_label) > 1:
        for metric in metrics_of(study):
            found[MEAN_LABEL, metric] = over_labels([of[metric] for of in by_label], study.task.labels)
    return found


def _label_outcomes(scored: Scored, label: int, study: Study, counts: Floats | None) -> Mapping[str, Outcome]:
    values = {name: value[:, label] for name, value in scored.columns.items()}
    if study.task.kind == "classification":
        predicted = values["predicted"].astype(np.int64)
        return classification.label_outcomes(scored.truth[label], values["score"], predicted, scored.cluster, counts)
    return {
        metric: segmentation.patient_outcome(segmentation.patient_means(value, scored.cluster), counts)
        for metric, value in values.items()
    }


def sites_left_out(sites: Mapping[str, bool]) -> str | None:
    """What a summary says about the sites it does without: name -> whether the arm was scored there."""
    unscored = ", ".join(site for site, scored in sites.items() if not scored)
    undefined = ", ".join(site for site, scored in sites.items() if scored)
    return joined(
        f"without {undefined}, where it is undefined" if undefined else None,
        f"without {unscored}, which was not scored" if unscored else None,
    )
