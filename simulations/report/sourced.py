"""Numbers that say where they come from.

Every number that a report prints is a :class:`Number`: its text and the place in the run folder
that it was read from. The page writes the place into a ``data-source`` attribute, so that a reader
(or a test) can look each of them up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"

_DECIMALS = {"hd95_mm": 2, "volume_error_ml": 2}


@dataclass(frozen=True, slots=True)
class Number:
    """One printed number.

    Attributes:
        text: As printed; a true minus sign, fixed decimals.
        source: File of the run folder, ``#`` and JSON pointers (RFC 6901) parted by blanks; the
            number is a rounding of the value there, or of the sum of the values.
    """

    text: str
    source: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Quote:
    """Text of the run folder repeated word for word, digits included: a name, a reason, a setting."""

    text: str
    source: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that a reader looks for: the name of a hospital at the head of its sentence."""

    text: str

    def __str__(self) -> str:
        return self.text


Phrase: TypeAlias = str | Number | Quote | Strong
Sentence: TypeAlias = tuple[Phrase, ...]


def plain(sentence: Sentence) -> str:
    """The sentence as text."""
    return "".join(str(phrase) for phrase in sentence)


def joined(sentences: Iterable[Sentence], separator: str) -> Sentence:
    """The sentences as one, with ``separator`` between them."""
    phrases: list[Phrase] = []
    for sentence in sentences:
        phrases.extend((separator, *sentence) if phrases else sentence)
    return tuple(phrases)


def decimals(metric: str) -> int:
    """Decimals that a metric is printed with: two for millimetres and millilitres, three otherwise."""
    return _DECIMALS.get(metric, 3)


def fixed(value: float, source: str, *, places: int = 3, signed: bool = False) -> Number:
    """A number with fixed decimals; ``signed`` prints a plus before what is above zero."""
    text = f"{abs(value):.{places}f}"
    zero = float(text) == 0
    sign = "" if zero else (MINUS if value < 0 else "+" if signed else "")
    return Number(sign + text, source)


def whole(value: int, source: str) -> Number:
    """A count."""
    return Number(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"), source)


def p_value(value: float, source: str) -> Number:
    """A p-value with three decimals; below 0.001 only that is said."""
    return Number("<0.001" if value < 0.001 else f"{value:.3f}", source)


def interval(bounds: tuple[float, float], source: str, *, places: int = 3, signed: bool = False) -> Sentence:
    """``low to high``, from a pointer to a pair."""
    low = fixed(bounds[0], f"{source}/0", places=places, signed=signed)
    high = fixed(bounds[1], f"{source}/1", places=places, signed=signed)
    return (low, " to ", high)


def pointer(*parts: str | int, file: str = "results.json") -> str:
    """``file#/part/part``: a JSON pointer as the fragment of a URI (RFC 6901 section 6), so free of blanks."""
    escaped = (quote(str(part).replace("~", "~0").replace("/", "~1")) for part in parts)
    return f"{file}#" + "".join(f"/{part}" for part in escaped)
