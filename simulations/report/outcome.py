"""What one paired comparison supports, and the sentence that says so.

A difference is called better or worse only when the Holm-corrected p-value of the primary test is
below 0.05 and the 95% interval of the difference, where there is one, leaves zero out. Summaries over
hospitals (mean, worst) are compared by their interval alone, and that is said. Everything else is
"no difference could be shown", which is not the same as "no difference".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from wardround.simulations.report.lookup import INTERVAL_TEST
from wardround.simulations.report.names import metric_name
from wardround.simulations.report.sourced import Quote, decimals, fixed, interval, joined, p_value, whole

if TYPE_CHECKING:
    from wardround.simulations.report.lookup import FoundMetric, FoundTest
    from wardround.simulations.report.sourced import Sentence
    from wardround.simulations.results import Test

ALPHA: Final = 0.05


class Outcome(Enum):
    """What a comparison of arm a with arm b shows about a."""

    BETTER = auto()
    WORSE = auto()
    NOT_SHOWN = auto()
    NOT_TESTED = auto()
    UNDEFINED = auto()


def judge(test: Test) -> Outcome:
    """Read one comparison; a higher metric is better (AUROC, Dice)."""
    if test.difference is None:
        return Outcome.UNDEFINED
    by_interval = test.test == INTERVAL_TEST and test.ci95 is not None
    if test.p_holm is None and not by_interval:
        return Outcome.NOT_TESTED
    better = test.difference > 0
    if (test.p_holm or 0.0) >= ALPHA or test.difference == 0 or not _leaves_zero_out(test.ci95, better=better):
        return Outcome.NOT_SHOWN
    return Outcome.BETTER if better else Outcome.WORSE


def _leaves_zero_out(bounds: tuple[float, float] | None, *, better: bool) -> bool:
    if bounds is None:
        return True
    return bounds[0] > 0 if better else bounds[1] < 0


def value(found: FoundMetric | None) -> Sentence:
    """``0.843 (95% interval 0.801 to 0.880)``, ``0.843`` without interval, or why it is undefined."""
    if found is None:
        return ("not measured",)
    row = found.row
    if row.value is None:
        return ("undefined: ", Quote(row.reason or "no reason recorded", f"{found.source}/reason"))
    places = decimals(row.metric)
    number = fixed(row.value, f"{found.source}/value", places=places)
    if row.ci95 is None:
        return (number,)
    return (number, " (95% interval ", *interval(row.ci95, f"{found.source}/ci95", places=places), ")")


def short_value(found: FoundMetric | None) -> Sentence:
    """The value without its interval."""
    return value(found) if found is None or found.row.value is None else value(found)[:1]


def difference(found: FoundTest) -> Sentence:
    """``+0.031 (95% interval +0.010 to +0.052, p 0.012, 45 patients)``; p is corrected by Holm's method.

    Raises:
        ValueError: The difference is undefined; ask :func:`judge` first.
    """
    row = found.row
    if row.difference is None:
        raise ValueError("an undefined difference has no number")
    places = decimals(row.metric)
    inside: list[Sentence] = []
    if row.ci95 is not None:
        bounds = interval(row.ci95, f"{found.source}/ci95", places=places, signed=True)
        inside.append(("95% interval ", *bounds))
    if row.p_holm is not None:
        inside.append(("p ", p_value(row.p_holm, f"{found.source}/p_holm")))
    inside.append((whole(row.patients, f"{found.source}/patients"), " patients" if row.patients != 1 else " patient"))
    if row.test == INTERVAL_TEST:
        inside.append(("by its interval alone",))
    number = fixed(row.difference, f"{found.source}/difference", places=places, signed=True)
    return (number, " (", *joined(inside, ", "), ")")


def verdict(found: FoundTest) -> Sentence:
    """What the comparison shows, with its numbers: the end of a sentence that has named both arms."""
    outcome = judge(found.row)
    if outcome is Outcome.UNDEFINED:
        reason = Quote(found.row.reason or "no reason recorded", f"{found.source}/reason")
        return (f"cannot be compared, {metric_name(found.row.metric)} is undefined: ", reason)
    if outcome is Outcome.NOT_TESTED:
        reason = Quote(found.row.reason or "no reason recorded", f"{found.source}/reason")
        return ("not tested: ", reason, ". Measured difference ", *difference(found))
    words = {
        Outcome.BETTER: "better: ",
        Outcome.WORSE: "worse: ",
        Outcome.NOT_SHOWN: "no difference could be shown: ",
    }
    return (words[outcome], *difference(found))
