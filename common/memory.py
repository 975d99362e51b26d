"""How a process that passes messages on keeps memory that is free.

Pieces of messages have a few MiB and come and go all the time. Memory of their size stays with the process while it
works: asked of the system anew for each copy, it made a round a fourth slower. What stays is at most what was needed at
the peak; a process that has worked and is quiet gives it back.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_OPTIONS: Final = ((-8, 2), (-1, 1 << 25), (-3, 1 << 24))
"""M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3): larger blocks are mapped, more is trimmed."""

WORTH_SECONDS: Final = 0.5
"""Processor time since memory was given back last after which it is worth while again."""


def bound_free_memory() -> bool:
    """Set the C library so; whether it can be set (GNU/Linux)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _OPTIONS)


def give_free_memory_back() -> None:
    """Give back what is free now, reference cycles included, where the C library can: for a process that is quiet."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
