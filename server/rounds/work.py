"""How many samples each site of an open run consumes, so that every arm does equal work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import SiteId


def site_totals(samples: Mapping[SiteId, int], total: int) -> dict[SiteId, int]:
    """Divide ``total`` samples of work over sites in proportion to their training samples.

    Largest-remainder rounding: the parts add up to ``total`` exactly.

    Raises:
        ValueError: No site has a training sample.
    """
    have = sum(samples.values())
    if have < 1:
        raise ValueError("no site has a training sample")
    parts = {site: total * count // have for site, count in samples.items()}
    short = total - sum(parts.values())
    by_remainder = sorted(samples, key=lambda site: (-(total * samples[site] % have), site))
    for site in by_remainder[:short]:
        parts[site] += 1
    return parts
