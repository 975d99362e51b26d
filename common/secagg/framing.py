"""Fixed-order binary fields: what the messages and signed statements are written in.

Integers are unsigned and big-endian. There are no optional fields, no names and no nesting, so a
statement has exactly one encoding, and every length is known before anything is read.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Self, TypeVar

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable

Statement = TypeVar("Statement")

DAMAGED: Final = "WR-1714"
"""Code of everything that is wrong with bytes from the own store."""


class Writer:
    """Appends fields."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u8(self, value: int) -> Self:
        """One byte."""
        self._parts.append(struct.pack(">B", value))
        return self

    def u16(self, value: int) -> Self:
        """Two bytes."""
        self._parts.append(struct.pack(">H", value))
        return self

    def u32(self, value: int) -> Self:
        """Four bytes."""
        self._parts.append(struct.pack(">I", value))
        return self

    def fixed(self, value: bytes, length: int) -> Self:
        """Bytes whose length both sides know.

        Raises:
            ValueError: ``value`` has another length.
        """
        if len(value) != length:
            raise ValueError(f"expected {length} bytes, got {len(value)}")
        self._parts.append(value)
        return self

    def variable(self, value: bytes) -> Self:
        """Four bytes of length, then the bytes."""
        self.u32(len(value))
        self._parts.append(value)
        return self

    def bytes(self) -> bytes:
        """Everything appended so far."""
        return b"".join(self._parts)


class Reader:
    """Reads fields in the order in which they were written.

    Args:
        data: The whole message.
        what: What this is, for refusals: ``advert message``, ``stored session``, ….
        code: Code of refusals; WR-1714 where the bytes come from the own store.
    """

    def __init__(self, data: bytes, what: str, code: str = "WR-1701") -> None:
        self._data = bytes(data)
        self._at = 0
        self._what = what
        self._code = code

    def u8(self) -> int:
        """One byte."""
        return self.fixed(1)[0]

    def u16(self) -> int:
        """Two bytes."""
        return int.from_bytes(self.fixed(2), "big")

    def u32(self) -> int:
        """Four bytes."""
        return int.from_bytes(self.fixed(4), "big")

    def fixed(self, length: int) -> bytes:
        """So many bytes.

        Raises:
            WardroundError: The message ends before.
        """
        end = self._at + length
        if end > len(self._data):
            raise WardroundError(self._code, f"The {self._what} is truncated.")
        part, self._at = self._data[self._at : end], end
        return part

    def variable(self, most: int) -> bytes:
        """Bytes after their length, which may be at most ``most``.

        Raises:
            WardroundError: They are longer, or the message ends before.
        """
        length = self.u32()
        if length > most:
            raise WardroundError(self._code, f"The {self._what} holds a field of {length} bytes; {most} is the most.")
        return self.fixed(length)

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            WardroundError: Something does.
        """
        if not self.at_end:
            raise WardroundError(self._code, f"The {self._what} is longer than its fields.")


def stored(what: str, decode: Callable[[bytes], Statement], data: bytes) -> Statement:
    """Read a statement or message that lies inside a stored record.

    Raises:
        WardroundError: WR-1714: what a peer's message is refused for is damage here.
    """
    try:
        return decode(data)
    except WardroundError as error:
        raise WardroundError(DAMAGED, f"The stored {what} is damaged.") from error
