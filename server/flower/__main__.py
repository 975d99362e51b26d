"""``flower-superlink``, as a child process that ends when its parent does."""

from __future__ import annotations

import os
import sys
import threading


def _main() -> None:
    """Be ``flower-superlink``; end when standard input ends, which is when the parent has ended."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
    from flwr.superlink.cli import flower_superlink

    sys.argv[0] = "flower-superlink"
    flower_superlink()


if __name__ == "__main__":
    _main()
