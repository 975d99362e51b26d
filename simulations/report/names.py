"""How arms, metrics and sites are called in a report, and which rows are its main ones."""

from __future__ import annotations

from typing import Final

FEDERATED: Final = "federated"
CENTRALISED: Final = "centralised"
LOCAL: Final = "local/"
WITHOUT: Final = "leave-one-out/"
POOLED_WITHOUT: Final = "centralised-leave-one-out/"
FAMILIES: Final = {
    WITHOUT: "Federated without that hospital",
    POOLED_WITHOUT: "Pooled without that hospital",
}
"""Arms of which there is one for each left-out site, and what they are called together."""

SUMMARIES: Final = ("mean", "worst", "spread")
"""Test sites that are no site: summaries over the training sites."""

METRICS: Final = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1 score",
    "ece": "Calibration error",
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "surface_dice": "Surface Dice",
    "volume_error_ml": "Volume error (mL)",
}

EXPLAINED: Final = {
    "auroc": "AUROC is the probability that an image with the finding gets a higher score than an image without it: "
    "0.5 is guessing, 1 is perfect.",
    "dice": "Dice measures how well the outline of the model and the reference overlap: 0 is no overlap, 1 is perfect.",
}
"""The main metrics in a sentence."""

LOWER_IS_BETTER: Final = frozenset({"ece", "hd95_mm", "volume_error_ml"})

TESTS: Final = {
    "clustered_delong": "Clustered DeLong",
    "wilcoxon": "Wilcoxon",
    "paired_t": "Paired t",
    "stratified_bootstrap": "Interval only",
}

SUMMARY_NAMES: Final = {
    "mean": "mean of hospitals",
    "worst": "worst hospital",
    "spread": "spread between hospitals",
}


def arm_name(arm: str) -> str:
    """An arm as people read it."""
    if arm == FEDERATED:
        return "Federated"
    if arm == CENTRALISED:
        return "All data pooled"
    if arm.startswith(LOCAL):
        return f"{arm.removeprefix(LOCAL)} alone"
    if arm.startswith(WITHOUT):
        return f"Federated without {arm.removeprefix(WITHOUT)}"
    if arm.startswith(POOLED_WITHOUT):
        return f"Pooled without {arm.removeprefix(POOLED_WITHOUT)}"
    return arm


def site_name(site: str) -> str:
    """A test site, or a summary over sites, as people read it."""
    return SUMMARY_NAMES.get(site, site)


def metric_name(metric: str) -> str:
    """A metric as people read it."""
    return METRICS.get(metric, metric)


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
