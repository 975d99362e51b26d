"""How arms, metrics and sites are called in a report, and which rows are its main ones."""

from __future__ import annotations

from typing import Final

FEDERATED: Final = "federated"
CENTRALISED: Final = "centralised"
LOCAL: Final = "local/"
WITHOUT: Final = "leave-one-out/"
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

LOWER_IS_BETTER: Final = frozenset({"ece", "hd95_mm", "volume_error_ml"})

TESTS: Final = {
    "clustered_delong": "DeLong, clustered by patient",
    "wilcoxon": "Wilcoxon signed rank",
    "paired_t": "Paired t",
    "stratified_bootstrap": "Bootstrap, stratified by hospital",
}

SUMMARY_NAMES: Final = {
    "mean": "Mean of training hospitals",
    "worst": "Worst training hospital",
    "spread": "Spread between hospitals (SD)",
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
