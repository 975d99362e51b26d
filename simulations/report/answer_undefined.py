"""What the answer says of a site where the main metric is undefined: all its patients are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.simulations.report.names import metric_name
from wardround.simulations.report.outcome import value
from wardround.simulations.report.sourced import Quote, Strong, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.simulations.report.lookup import FoundMetric, Lookup
    from wardround.simulations.report.sourced import Sentence

_CAUTION = "; without the other class a model that always gives the same answer would look perfect."


def undefined(found: FoundMetric) -> Sentence:
    """``AUROC is undefined: no negative images at this site``."""
    reason = Quote(found.row.reason or "no reason recorded", f"{found.source}/reason")
    return (f"{metric_name(found.row.metric)} is undefined: ", reason)


def what_is_left(lookup: Lookup, site: str, models: Mapping[str, str]) -> tuple[Sentence, ...]:
    """The sensitivity, or else the specificity, of models at a site with one class only; nothing in segmentation.

    Args:
        lookup: The run.
        site: Whose patients.
        models: What a model is called -> its arm.
    """
    for metric in ("sensitivity", "specificity"):
        found = {name: lookup.metric(arm, site, metric) for name, arm in models.items()}
        parts = [(f"{name} ", *value(item)) for name, item in found.items() if item and item.row.value is not None]
        if parts:
            start = f": only {metric_name(metric).lower()} can be given: "
            return ((Strong(site), start, *joined(parts, ", "), _CAUTION),)
    return ()
