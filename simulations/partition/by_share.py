"""Partition by share: virtual hospitals divide the patients of one hospital at random."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from wardround.simulations.partition.order import hashed_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wardround.common.ids import SiteId


def by_share(patients: Iterable[str], shares: Mapping[SiteId, float], *, seed: int = 0) -> dict[str, SiteId]:
    """Give every patient to one site.

    Patients are put in their hashed order and cut where the running sum of shares falls.

    Args:
        patients: Patient ids; repeats count once.
        shares: Relative size of each site, above 0; the sum does not matter.
        seed: Salt of the order.

    Returns:
        The site of every patient. Each site's count differs from its exact part by less than 1.

    Raises:
        ValueError: No site, or a share that is not above 0.
    """
    if not shares or min(shares.values()) <= 0:
        raise ValueError("shares must name a site and be above 0")
    order = hashed_order(patients, seed)
    total = sum(shares.values())
    ends = [round(len(order) * part / total) for part in accumulate(shares.values())]
    starts = [0, *ends[:-1]]
    spans = zip(shares, starts, ends, strict=True)
    return {patient: site for site, start, end in spans for patient in order[start:end]}
