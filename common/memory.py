"""How a process that passes messages on keeps memory that is free.

Pieces of messages have a few MiB and come and go all the time. Memory of their size stays with the process: asked of
the system anew for each copy, it made a round a fourth slower. Whole vectors are given back at once, and a few arenas
bound what stays.
"""

from __future__ import annotations

import ctypes
from typing import Final

_OPTIONS: Final = ((-8, 2), (-1, 1 << 25), (-3, 1 << 24))
"""M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3): larger blocks are mapped, more is trimmed."""


def give_free_memory_back() -> None:
    """Give all that is free back now, where the C library can: for a process that will be idle."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_free_memory() -> bool:
    """Set the C library so; whether it can be set (GNU/Linux)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _OPTIONS)
