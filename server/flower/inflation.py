"""A hospital's reply out of the objects that it has sent, and no larger than a reply may be.

Flower cuts an array into chunks and writes down their places; a place may be named many times, so a small reply can
stand for an array that no machine has memory for. It is measured before it is put together.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from flwr.app import Array, Message
from flwr.supercore.inflatable.inflatable_object import get_object_body, get_object_head_values_from_object_content
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOM: Final = 1 << 20
"""Bytes of arrays that a reply may have beyond those of its question."""

log = logging.getLogger("wardround.flower")


def inflated(name: str, contents: Mapping[str, bytes], most: int) -> Message | None:
    """The message that objects make; None: they make none, whatever a hospital has put into them.

    Args:
        name: Of the message's object.
        contents: Of all objects, by name.
        most: Bytes that all arrays together may have.
    """
    try:
        size = sum(_array_bytes(content, contents) for content in contents.values())
        if size > most:
            log.warning("A reply with %d bytes of arrays is not put together: %d may come.", size, most)
            return None
        found = inflate_object_from_contents(name, dict(contents))
    except Exception as error:  # noqa: BLE001 - a hospital's bytes meet Flower's parser
        log.warning("A reply cannot be put together (%s).", type(error).__name__)
        return None
    return found if isinstance(found, Message) else None


def array_bytes(message: Message) -> int:
    """Bytes of all arrays of a message."""
    if not message.has_content():
        return 0
    return sum(len(array.data) for record in message.content.array_records.values() for array in record.values())


def _array_bytes(content: bytes, contents: Mapping[str, bytes]) -> int:
    """Bytes of the array that an object is, with what Flower writes before each chunk; 0: it is none."""
    kind, children, _ = get_object_head_values_from_object_content(content)
    if kind != Array.__qualname__:
        return 0
    places = json.loads(get_object_body(content, Array))["arraychunk_ids"]
    return sum(len(contents[children[place]]) for place in places)
