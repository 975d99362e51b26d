"""Weights and metrics inside the secure sum: fixed point, in limbs of base 256.

A number of one site (its weight, its training loss, a count) must not leave in clear, so it rides at the end of the
encoded vector. It becomes an unsigned fixed-point integer, and that integer is written in base 256, one digit (limb)
a ring value, the lowest first. A site's limb is at most 255, so that the sum of a limb over 128 sites is at most
32,640 and stays below half of the 16-bit ring: limb sums never wrap, and the sum of the integers is
``sum_i limb_sum_i * 256**i`` exactly.

The vector's tail holds, in this order: the weight's limbs; then for each slot one value that is 1 if the site gave a
number (the sum over sites is the count) and the limbs of the number. A slot that a site has nothing for holds zeros.

A count of one shows that one site's number to whoever reads the sum, and a total weight that only one site
contributed to shows its update: a site without data for a round should stay out of it rather than upload zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.secagg.ring import LARGEST_LIMB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MOST_LIMBS: Final = 6
"""Integers below 2^48: sums over 128 sites are exact in a float, too."""


@dataclass(frozen=True, slots=True)
class ScalarSlot:
    """One named number a site may add to the secure sum.

    A number is clamped to ``[low, high]`` and rounded to the nearest ``low + u * resolution``, u an integer: it errs
    by ``resolution / 2`` at most, the sum over m sites by ``m`` times that. NaN counts as absent: this is a metric,
    whose absence is itself a result; a NaN in the update is refused.

    Args:
        name: What the number is, for example ``training_loss``.
        low: Smallest number that can be told.
        high: Largest number that can be told.
        resolution: Distance of two neighbouring numbers.

    Raises:
        ValueError: The name is empty, the range empty or not finite, or it has 2^48 steps or more.
    """

    name: str
    low: float
    high: float
    resolution: float

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a scalar slot has a name")
        if not all(map(math.isfinite, (self.low, self.high, self.resolution))):
            raise ValueError(f"the range of {self.name} is not finite")
        if not (self.low < self.high and self.resolution > 0):
            raise ValueError(f"the range of {self.name} is empty")
        if not 1 <= (self.high - self.low) / self.resolution < 256**_MOST_LIMBS - 1:
            raise ValueError(f"the range of {self.name} has one step to 2^{8 * _MOST_LIMBS} steps")

    @property
    def top(self) -> int:
        """Largest integer, that of ``high``."""
        return round((self.high - self.low) / self.resolution)

    @property
    def limbs(self) -> int:
        """Ring values of the number itself."""
        return limbs_of(self.top)

    def steps(self, number: float) -> int:
        """The integer u of a number that is not NaN, in ``[0, top]``."""
        clamped = min(max(number, self.low), self.high)
        return min(round((clamped - self.low) / self.resolution), self.top)


@dataclass(frozen=True, slots=True)
class ScalarSums:
    """What the tail of a secure sum says.

    ``weight`` is the sum of ``min(weight, cap)``; ``sums`` and ``counts`` hold every slot. The mean of a slot is
    ``sums[name] / counts[name]``, undefined where nobody gave a number.
    """

    weight: int
    sums: dict[str, float]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tail:
    """The ring values behind the update: weight, then the slots.

    Raises:
        ValueError: The cap is no positive integer below 2^48, or two slots have one name.
    """

    weight_cap: int
    slots: tuple[ScalarSlot, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.weight_cap < 256**_MOST_LIMBS:
            raise ValueError(f"a weight cap is 1 to 2^{8 * _MOST_LIMBS} - 1, not {self.weight_cap}")
        if len({slot.name for slot in self.slots}) < len(self.slots):
            raise ValueError("two scalar slots have the same name")

    @property
    def size(self) -> int:
        """Number of ring values."""
        return limbs_of(self.weight_cap) + sum(1 + slot.limbs for slot in self.slots)

    def encode(self, weight: int, numbers: Mapping[str, float]) -> list[int]:
        """One site's limbs, each in ``[0, 255]``, ``size`` of them.

        Args:
            weight: The site's weight, at most the cap.
            numbers: Numbers by the name of their slot; a slot without one, or with NaN, counts as absent.

        Raises:
            ValueError: A number has no slot.
        """
        unknown = numbers.keys() - {slot.name for slot in self.slots}
        if unknown:
            raise ValueError(f"no scalar slot is named {min(unknown)}")
        limbs = to_limbs(weight, limbs_of(self.weight_cap))
        for slot in self.slots:
            number = numbers.get(slot.name, math.nan)
            present = not math.isnan(number)
            limbs += [int(present), *to_limbs(slot.steps(number) if present else 0, slot.limbs)]
        return limbs

    def decode(self, limb_sums: Sequence[int], survivors: int) -> ScalarSums:
        """The sums over ``survivors`` sites, from the ``size`` sums of their limbs.

        Raises:
            WardroundError: ``WR-1713`` if no sites could have given these limbs.
        """
        if max(limb_sums) > survivors * LARGEST_LIMB:
            raise _impossible("a limb")
        rest = iter(limb_sums)
        weight = _take(rest, limbs_of(self.weight_cap))
        if weight > survivors * self.weight_cap:
            raise _impossible("the weight")
        found = {slot.name: self._slot(slot, rest, survivors) for slot in self.slots}
        return ScalarSums(
            weight, {name: total for name, (total, _) in found.items()}, {name: n for name, (_, n) in found.items()}
        )

    @staticmethod
    def _slot(slot: ScalarSlot, rest: Iterator[int], survivors: int) -> tuple[float, int]:
        count, steps = _take(rest, 1), _take(rest, slot.limbs)
        if count > survivors or steps > count * slot.top:
            raise _impossible(slot.name)
        return slot.low * count + slot.resolution * steps, count


def limbs_of(largest: int) -> int:
    """Limbs that a number up to ``largest`` takes."""
    return max(1, (largest.bit_length() + 7) // 8)


def to_limbs(number: int, limbs: int) -> list[int]:
    """A number in base 256, the lowest limb first.

    Raises:
        OverflowError: It is negative or takes more limbs.
    """
    return list(number.to_bytes(limbs, "little"))


def from_limbs(limb_sums: Sequence[int]) -> int:
    """The number that limbs, or sums of limbs, stand for."""
    return sum(limb << 8 * place for place, limb in enumerate(limb_sums))


def _take(rest: Iterator[int], limbs: int) -> int:
    return from_limbs(list(islice(rest, limbs)))


def _impossible(what: str) -> WardroundError:
    return WardroundError("WR-1713", f"The opened sum is impossible: {what} is larger than the sites could give.")
