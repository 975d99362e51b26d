"""The part of the answer that says how far it can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.report.names import FEDERATED, WITHOUT, listed
from wardround.simulations.report.sourced import Number, Quote, pointer, whole

if TYPE_CHECKING:
    from wardround.simulations.report.lookup import FoundMetric, Lookup
    from wardround.simulations.report.sourced import Sentence


_RULE: Final = (
    "Every p is corrected by Holm's method over all comparisons of its kind in this run. Better and worse are said "
    "only where p is below 0.05 and the interval of the difference leaves zero out; below "
)
_NO_DIFFERENCE: Final = (
    " patients nothing is tested. Averages over hospitals are compared by their interval alone. “No difference could "
    "be shown” does not mean that there is none."
)


def certainty(lookup: Lookup) -> tuple[Sentence, ...]:
    """Patients behind the numbers, intervals, tests, repetitions, and the study's own limits."""
    sentences = [
        *_patients(lookup),
        _intervals(lookup),
        *_narrow(lookup),
        *_tests(lookup),
        _repeats(lookup),
        *_undefined(lookup),
    ]
    if lookup.results.status == "completed_with_losses":
        sentences.append(("Some hospitals missed rounds; see the warnings.",))
    return tuple(sentences)


def _main_rows(lookup: Lookup) -> list[FoundMetric]:
    rows = []
    for site in lookup.test_sites:
        arm = FEDERATED if lookup.has_federated else WITHOUT + site
        found = lookup.metric(arm, site)
        if found is not None:
            rows.append(found)
    return rows


def _patients(lookup: Lookup) -> tuple[Sentence, ...]:
    rows = [lookup.most_patients(item.row.arm, item.row.test_site) for item in _main_rows(lookup)]
    counted = [(item.row.test_site, whole(item.row.patients, f"{item.source}/patients")) for item in rows]
    if not counted:
        return ()
    phrases: list[str | Number | Quote] = ["Test patients: "]
    for place, (site, number) in enumerate(counted):
        phrases += [", " if place else "", f"{site} ", number]
    return ((*phrases, "."),)


def _intervals(lookup: Lookup) -> Sentence:
    if not lookup.study.evaluation.intervals:
        return ("This study gives no intervals: it has too few patients for an interval to mean something.",)
    number = whole(lookup.study.evaluation.bootstrap, pointer("evaluation", "bootstrap", file="study.json"))
    return (
        "Intervals are 95% percentile bootstrap intervals from ",
        number,
        " resamples of whole patients; they hold for new patients of these hospitals, not for other hospitals.",
    )


def _narrow(lookup: Lookup) -> tuple[Sentence, ...]:
    """Sites with so few patients that resampling them understates the uncertainty."""
    minimum = lookup.study.evaluation.test_min_patients
    rows = [lookup.most_patients(item.row.arm, item.row.test_site).row for item in _main_rows(lookup)]
    few = [row.test_site for row in rows if row.patients < minimum]
    if not few or not lookup.study.evaluation.intervals:
        return ()
    number = whole(minimum, pointer("evaluation", "test_min_patients", file="study.json"))
    return (
        (f"At {listed(few)} there are fewer than ", number, " patients: intervals there are too narrow to rely on."),
    )


def _tests(lookup: Lookup) -> tuple[Sentence, ...]:
    if not lookup.results.tests:
        return (("No two models were tested against each other.",),)
    minimum = lookup.study.evaluation.test_min_patients
    number = whole(minimum, pointer("evaluation", "test_min_patients", file="study.json"))
    return (
        (
            _RULE,
            number,
            _NO_DIFFERENCE,
        ),
    )


def _repeats(lookup: Lookup) -> Sentence:
    several_seeds, several_folds = len(lookup.results.seeds) > 1, lookup.results.folds > 1
    folds = whole(lookup.results.folds, pointer("folds"))
    words: list[Sentence] = []
    if several_folds:
        words.append(("Every patient was a test patient once, in one of ", folds, " folds."))
    if several_seeds:
        words.append(("Training was repeated with several seeds.",))
    else:
        words.append(("Training ran with one seed: how much another seed would change is not in the intervals.",))
    return tuple(phrase for place, sentence in enumerate(words) for phrase in ((" ", *sentence) if place else sentence))


def _undefined(lookup: Lookup) -> tuple[Sentence, ...]:
    silent = [found for found in _main_rows(lookup) if found.row.value is None]
    if not silent:
        return ()
    sites = listed([found.row.test_site for found in silent])
    reason = Quote(silent[0].row.reason or "no reason recorded", f"{silent[0].source}/reason")
    return ((f"No value is given at {sites}: ", reason, "."),)
