"""``flower-superlink``, as a child process behind a :mod:`door`, which ends when its parent does.

The first line of standard input is what opens the door.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from flwr.supercore.corestate import in_memory_corestate

from wardround.server.flower.door import Door
from wardround.server.memory import tend_memory

if TYPE_CHECKING:
    from wardround.server.flower.door import Application

PUSH_SECONDS: Final = 3600
"""How long one object of a reply may take: Flower's 180 seconds are too few for four pieces of 5 MiB on a slow line."""


def _main() -> None:
    """Be ``flower-superlink``; end when standard input ends, which is when the parent has ended."""
    tend_memory()
    word = sys.stdin.buffer.readline().decode().strip()
    threading.Thread(target=_watch, daemon=True).start()
    plain = uvicorn.run

    def guarded(app: Application, **settings: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        plain(Door(app, word), **settings)

    uvicorn.run = guarded  # type: ignore[assignment]
    in_memory_corestate.OBJECT_PUSH_SESSION_TTL_SECONDS = PUSH_SECONDS  # type: ignore[attr-defined]
    from flwr.superlink.cli import flower_superlink

    sys.argv[0] = "flower-superlink"
    flower_superlink()


def _watch() -> None:
    sys.stdin.buffer.read(1)
    os._exit(3)


if __name__ == "__main__":
    _main()
