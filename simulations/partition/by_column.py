"""Partition by column: the table itself says which hospital, scanner or group a patient is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from collections.abc import Sequence


def by_column(patients: Sequence[str], values: Sequence[str]) -> dict[str, SiteId]:
    """Give every patient to the site that its rows name.

    Args:
        patients: Patient id of each row.
        values: The column's value in each row.

    Returns:
        The site of every patient.

    Raises:
        ValueError: The two differ in length.
        WardroundError: WR-1012, two rows of one patient name different sites.
    """
    sites: dict[str, SiteId] = {}
    for row, (patient, value) in enumerate(zip(patients, values, strict=True), start=2):
        if sites.setdefault(patient, SiteId(value)) != value:
            raise WardroundError("WR-1012", f"The patient of table row {row} belongs to two sites.")
    return sites
