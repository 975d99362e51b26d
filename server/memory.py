"""Free memory of the coordinator's processes, which work for all hospitals and are quiet between rounds and runs."""

from __future__ import annotations

import threading
import time
from typing import Final

from wardround.common.memory import WORTH_SECONDS, bound_free_memory, give_free_memory_back

LOOK_SECONDS: Final = 2.0
_QUIET: Final = 0.05
"""Share of a processor below which a process is quiet."""


def tend_memory(interval: float = LOOK_SECONDS) -> None:
    """Bound what this process keeps of free memory, and give it back whenever the process has worked and is quiet.

    Args:
        interval: Seconds between two looks at how much the process works.
    """
    if bound_free_memory():
        threading.Thread(target=_look, args=(interval,), name="free memory", daemon=True).start()


def _look(interval: float) -> None:
    given = before = time.process_time()
    while True:
        time.sleep(interval)
        now = time.process_time()
        if now - given > WORTH_SECONDS and now - before < _QUIET * interval:
            give_free_memory_back()
            given = now = time.process_time()
        before = now
