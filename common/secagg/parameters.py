"""How many sites must agree: the threshold t and the smallest sum that may be opened.

n sites form the cohort, at most k of them collude with the coordinator. Every site computes t from
n, k and the strength itself; a threshold that it is told is only compared.

**Active.** The coordinator may lie. Each honest site signs at most one survivor set of an attempt, so
two different sets with t signatures each need 2t signatures from at most n - k sites that sign once
and k that sign twice: 2t <= n - k + 2k = n + k. With t = floor((n + k) / 2) + 1, 2t > n + k, and only
one set can gather t signatures. The same count bounds openings: whoever opens two secrets that
exclude each other needs t shares of each, t - k of them from honest sites that answer for one of the
two only, so 2 (t - k) <= n - k, which again contradicts 2t > n + k.

**Semi-honest.** The coordinator follows the protocol. t > k keeps colluding sites from opening
anything by themselves, t > n / 2 keeps two halves of the cohort apart.

The opened sum has at least max(t, 3, k + 2) sites: with k of them colluding, two updates of honest
sites or more are added together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wardround.common.errors import WardroundError

SMALLEST_COHORT: Final = 3
"""With two sites each one learns the other's update from the sum."""

LARGEST_COHORT: Final = 128
"""What the limbs of scalars in a 16-bit ring hold without wrapping (:mod:`wardround.common.secagg.scalars`)."""


class Strength(StrEnum):
    """What is assumed of the coordinator."""

    ACTIVE = "active"
    SEMI_HONEST = "semi-honest"


def default_colluding(sites: int) -> int:
    """The k that holds when neither study nor site policy asks for more: floor((n - 1) / 3)."""
    return (sites - 1) // 3


@dataclass(frozen=True, slots=True)
class Threshold:
    """What follows from the size of the cohort.

    Attributes:
        sites: n, 3 to 128.
        colluding: k, at most n - 2.
        strength: What is assumed of the coordinator.

    Raises:
        WardroundError: WR-1704, no secure sum exists for these numbers.
    """

    sites: int
    colluding: int
    strength: Strength

    def __post_init__(self) -> None:
        if not SMALLEST_COHORT <= self.sites <= LARGEST_COHORT:
            raise WardroundError(
                "WR-1704",
                f"A secure sum needs {SMALLEST_COHORT} to {LARGEST_COHORT} sites; the cohort has {self.sites}.",
            )
        if not 0 <= self.colluding <= self.sites - 2:
            raise WardroundError(
                "WR-1704", f"Among {self.sites} sites at most {self.sites - 2} may collude, not {self.colluding}."
            )

    @property
    def threshold(self) -> int:
        """T: signatures that confirm a survivor set, and shares that open a secret."""
        if self.strength is Strength.ACTIVE:
            return (self.sites + self.colluding) // 2 + 1
        return max(self.colluding + 1, self.sites // 2 + 1)

    @property
    def minimum_sum(self) -> int:
        """Fewest sites in a sum that may be opened."""
        return max(self.threshold, SMALLEST_COHORT, self.colluding + 2)
