"""How a process that passes messages on keeps memory that is free.

Pieces of messages have a few MiB and come and go all the time. Memory of their size stays with the process while it
works: asked of the system anew for each copy, it made a round a fourth slower. What stays is at most what was needed at
the peak; a process that has worked and is quiet gives it back.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from typing import Final

_OPTIONS: Final = ((-8, 2), (-1, 1 << 25), (-3, 1 << 24))
"""M_ARENA_MAX, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3): larger blocks are mapped, more is trimmed."""

LOOK_SECONDS: Final = 2.0
_WORKED: Final = 0.5
"""Seconds of processor time since memory was given back last, after which it is worth while again."""
_QUIET: Final = 0.05
"""Share of a processor below which a process is quiet."""


def bound_free_memory(interval: float = LOOK_SECONDS) -> bool:
    """Set the C library so for this process, and give back what is free, reference cycles included, when it is quiet.

    Args:
        interval: Seconds between two looks at how much the process works.

    Returns:
        Whether the C library can be set (GNU/Linux).
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    threading.Thread(target=_give_back_when_quiet, args=(library, interval), name="free memory", daemon=True).start()
    return all(library.mallopt(option, value) for option, value in _OPTIONS)


def _give_back_when_quiet(library: ctypes.CDLL, interval: float) -> None:
    given = before = time.process_time()
    while True:
        time.sleep(interval)
        now = time.process_time()
        if now - given > _WORKED and now - before < _QUIET * interval:
            gc.collect()
            library.malloc_trim(0)
            given = now = time.process_time()
        before = now
