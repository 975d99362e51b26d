"""A question of the privacy statement, and how its numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


_NEARLY: Final = 1e-3
_NOTHING: Final = 1e-6


@dataclass(frozen=True)
class Question:
    """One question with its answer.

    Attributes:
        id: Stable name.
        question: As people ask it.
        answer: Paragraphs.
        facts: The numbers in the answer, by name.
    """

    id: str
    question: str
    answer: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def at_most(value: float, digits: int = 3) -> str:
    """A bound with so many significant digits, rounded up: what is written is a bound too."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    quantum = Decimal(1).scaleb(exponent - digits + 1)
    return f"{float(Decimal(repr(value)).quantize(quantum, rounding=ROUND_CEILING)):g}"


def share(value: float) -> str:
    """A bound on a share in percent, rounded up: one decimal, and near 100% as many as it takes to differ from it."""
    rest = 1 - value
    places = 1 if rest > _NEARLY or rest < _NOTHING else math.ceil(-math.log10(rest)) - 2
    percent = (Decimal(repr(value)) * 100).quantize(Decimal(1).scaleb(-places), rounding=ROUND_CEILING)
    return f"{min(percent, Decimal(100)).normalize():f}%"


def number(value: float) -> str:
    """A number of a study as it stands there."""
    return f"{value:g}"


def count(value: int, what: str) -> str:
    """``1 hospital``, ``2 hospitals``."""
    return f"{value} {what}" + ("" if value == 1 else "s")
