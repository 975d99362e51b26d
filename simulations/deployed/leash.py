"""``python leash.py PARENT COMMAND …``: a command that ends with who started it.

The kernel sends SIGTERM to this process, and to what it becomes, when its parent ends in whatever way (Linux; elsewhere
nothing happens). The parent has to start it from a thread that lives as long as itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PR_SET_PDEATHSIG: Final = 1
"""From ``<sys/prctl.h>``; kept over execve, see prctl(2)."""


def bind_to_parent(parent: int) -> None:
    """End with the parent.

    Args:
        parent: Process id that the parent had when it started this one.

    Raises:
        SystemExit: It is gone already.
    """
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit(1)


def leashed(command: Sequence[str]) -> list[str]:
    """The command line that runs a command on a leash of this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    bind_to_parent(parent)
    os.execv(command[0], command)  # noqa: S606 - the command line is the caller's


if __name__ == "__main__":
    main()
