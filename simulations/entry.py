"""The program's entry point: interrupted while it loads, it ends quietly."""

from __future__ import annotations

import sys
from typing import Final

INTERRUPTED: Final = 130
"""Exit status of what SIGINT ended."""


def main() -> None:
    """Load the program and run it."""
    try:
        from wardround.simulations.cli import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()
