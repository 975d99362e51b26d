"""What agent and worker take from themselves before they see anything."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_DUMPABLE: Final = 4


def leave_no_dump() -> None:
    """New files are the account's own, and a crash writes no memory to the disk."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """The kernel ends this process with the one that started it (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    control = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
    if control is not None:
        control(option, value, 0, 0, 0)
