"""What messages needed is given back to the system when they are gone, in every process of the coordinator."""

from __future__ import annotations

import ctypes
from typing import Final

_OPTIONS: Final = ((-8, 2), (-1, 1 << 17), (-3, 1 << 20))
"""M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3): larger blocks are mapped, more is trimmed."""


def give_memory_back() -> bool:
    """Set the C library so; whether it can be set (GNU/Linux)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _OPTIONS)
