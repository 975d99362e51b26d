"""The deterministic order of patients that every partition starts from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def hashed_order(patients: Iterable[str], seed: int) -> list[str]:
    """Each patient once, by SHA-256 of ``seed|patient``.

    The place of two patients relative to each other depends on them and the seed alone, not on the
    order of rows or on who else is in the table.
    """
    return sorted(set(patients), key=lambda patient: hashlib.sha256(f"{seed}|{patient}".encode()).digest())
