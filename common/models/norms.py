"""Normalisation layers by name, as MONAI takes them."""

from __future__ import annotations

from math import gcd
from typing import Any, Literal

Norm = Literal["instance", "group", "batch"]

MAX_GROUPS = 8


def monai_norm(norm: Norm, *widths: int) -> tuple[str, dict[str, Any]]:
    """MONAI's description of a normalisation layer with affine weights.

    Args:
        norm: Kind of normalisation.
        widths: Every number of channels that the model normalises; the number of groups divides
            them all and is at most 8 (Wu and He, Group Normalization, ECCV 2018).
    """
    if norm == "group":
        common = gcd(*widths)
        groups = max(n for n in range(1, MAX_GROUPS + 1) if common % n == 0)
        return "group", {"num_groups": groups}
    return norm, {"affine": True}
