"""What agent and worker take from themselves before they see anything."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_DUMPABLE: Final = 4
_M_ARENA_MAX: Final = -8  # <malloc.h>
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def leave_no_dump() -> None:
    """New files are the account's own, and a crash writes no memory to the disk."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """The kernel ends this process with the one that started it (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_memory_back() -> None:
    """Let the C library return what messages needed to the system as soon as they are gone (GNU/Linux)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_M_ARENA_MAX, 2), (_M_TRIM_THRESHOLD, 1 << 17), (_M_MMAP_THRESHOLD, 1 << 20)):
            mallopt(option, value)


def _prctl(option: int, value: int) -> None:
    control = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
    if control is not None:
        control(option, value, 0, 0, 0)
