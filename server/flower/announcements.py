"""An announcement of a reply as bytes: how many objects it has is known before anything is made of them.

Flower's announcement is one tree of names. A node of such a tree may have two bytes, and as an object some hundreds, so
the tree is walked where it lies. Wire format: Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_BYTES: Final = 72
"""What an object takes in an announcement: a name of 64 letters, two tags, and the lengths of both, up to 4 bytes."""

HEAD_BYTES: Final = 64 << 10
"""What an announcement may have beside its tree."""

_TREE: Final = 3
_NAME, _CHILD = 1, 2
_DELIMITED: Final = 2
_LONGEST_VARINT: Final = 35
"""Bits, in sevens: a field number, or a length below 2 GiB."""


def head_of(body: bytes) -> bytes:
    """A PushMessages request without its tree.

    Raises:
        ValueError: It is malformed, has more than one tree, or is large beside it.
    """
    parts, size, trees = [], 0, 0
    for number, begin, _, end in _fields(body, 0, len(body)):
        if number == _TREE:
            trees += 1
        else:
            size += end - begin
        if trees > 1 or size > HEAD_BYTES:
            raise ValueError("more than one message")
        if number != _TREE:
            parts.append(body[begin:end])
    return b"".join(parts)


def count_objects(body: bytes, most: int) -> int:
    """How many objects a PushMessages request announces; beyond ``most`` it is not counted further.

    Raises:
        ValueError: It is malformed.
    """
    found = 0
    open_ = [(content, end) for number, _, content, end in _fields(body, 0, len(body)) if number == _TREE]
    while open_ and found <= most:
        found += 1
        named = False
        for number, _, content, end in _fields(body, *open_.pop()):
            if number == _CHILD:
                open_.append((content, end))
                if found + len(open_) > most:
                    return found + len(open_)
            elif number != _NAME or named:
                raise ValueError("no name of an object")
            else:
                named = True
    return found


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Of each field between two places: its number, where it begins, where its content begins, and where both end.

    Raises:
        ValueError: It is malformed, or a field is no text, no bytes and no message.
    """
    while at < end:
        begin = at
        tag, at = _varint(body, at, end)
        if tag & 7 != _DELIMITED:
            raise ValueError("no message")
        size, at = _varint(body, at, end)
        if size > end - at:
            raise ValueError("cut off")
        yield tag >> 3, begin, at, at + size
        at += size


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < _LONGEST_VARINT:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("cut off")
