"""Sees every buffer that frames of chosen modules hold while something runs.

A profile hook stops at each call, return and built-in call of a frame whose module is watched, on every
thread, walks through the frame's local variables, and copies each array and byte string of at least the
wanted size. The transport (Flower's Grid) is not walked into: it is where hospitals live in this process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DEEPEST = 7
EVENTS = frozenset({"call", "return", "c_call", "c_return"})


class BufferHook:
    """Collects distinct contents of buffers.

    Args:
        modules: Beginnings of names of the modules whose frames are watched.
        smallest: Bytes of the smallest buffer of interest.
    """

    def __init__(self, modules: tuple[str, ...], smallest: int) -> None:
        self._modules = modules
        self._smallest = smallest
        self.contents: dict[bytes, bytes] = {}
        self.frames: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.setprofile(self._event)
        sys.setprofile(self._event)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _event(self, frame: FrameType, event: str, returned: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event not in EVENTS or not module.startswith(self._modules):
            return
        self.frames.add(f"{module}.{frame.f_code.co_name}")
        seen: set[int] = set()
        for value in (*frame.f_locals.values(), returned if event == "return" else None):
            self._walk(value, seen, DEEPEST)

    def _walk(self, value: Any, seen: set[int], depth: int) -> None:
        if id(value) in seen or depth == 0 or isinstance(value, (str, int, float, Grid, type, type(None))):
            return
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            self._note(value.tobytes())
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._note(bytes(value))
        else:
            for part in _parts(value):
                self._walk(part, seen, depth - 1)

    def _note(self, content: bytes) -> None:
        if len(content) >= self._smallest:
            self.contents.setdefault(hashlib.sha256(content).digest(), content)


def _parts(value: Any) -> Iterator[Any]:
    """What an object is made of, as far as it may hold buffers."""
    if isinstance(value, (dict, ArrayRecord, RecordDict)):
        yield from list(value.values())
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from list(value)
    elif isinstance(value, Array):
        yield value.data
    elif isinstance(value, Message):
        if value.has_content():
            yield value.content
    elif type(value).__module__.startswith("wardround."):
        if dataclasses.is_dataclass(value):
            yield from (getattr(value, item.name, None) for item in dataclasses.fields(value))
        yield from list(getattr(value, "__dict__", {}).values())
    elif hasattr(value, "__closure__") and value.__closure__:
        yield from (cell.cell_contents for cell in value.__closure__)
    elif hasattr(value, "gi_frame") and value.gi_frame is not None:
        yield from list(value.gi_frame.f_locals.values())
