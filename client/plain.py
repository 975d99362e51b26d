"""Text from outside, made safe to show: it may not move the cursor, hide, recolour or reorder what people read."""

from __future__ import annotations

from typing import Final

_MARK: Final = "\N{REPLACEMENT CHARACTER}"
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that count as printable and show nothing."""


def plain(text: str) -> str:
    """The text with every character that does not print, line breaks apart, replaced by a mark.

    That takes in control characters, escape sequences, and marks that turn the direction of writing.
    """
    return "".join(char if (char.isprintable() or char == "\n") and char not in _BLANK else _MARK for char in text)


def one_line(text: str) -> str:
    """:func:`plain`, in one line: words from outside cannot look like a heading or a line of the program's own."""
    return plain(" ".join(text.split()))
