"""Fixed lengths: a key of another length is a bug of the caller, and never used."""

from __future__ import annotations

from typing import Final

KEY_BYTES: Final = 32
"""Length of every private, public and symmetric key of wardround."""


def check_length(what: str, value: bytes, size: int = KEY_BYTES) -> None:
    """Refuse a value of another length.

    Raises:
        ValueError: Its length is not ``size`` bytes; the value itself is not shown.
    """
    if len(value) != size:
        raise ValueError(f"{what} has {len(value)} bytes, not {size}")
