"""Text from outside, made safe to show: it may not move the cursor, hide, recolour or reorder what people read."""

from __future__ import annotations

from typing import Final

_MARK: Final = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """The text with every character that does not print, line breaks apart, replaced by a mark.

    That takes in control characters, escape sequences, and marks that turn the direction of writing.
    """
    return "".join(char if char.isprintable() or char == "\n" else _MARK for char in text)
