"""What the site's people can read about private rounds: ``runs/<run>/private.jsonl``, a line an event.

These lines stay at the hospital. They hold what the coordinator must not learn (how much was clipped,
why training failed) and, in words, how attempts ended.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardround.client.home import Home

JOURNAL: Final = "private.jsonl"


def note(home: Home, run: str, event: str, **facts: str | float | list[str]) -> None:
    """Append a line."""
    folder = home.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **facts}, ensure_ascii=False) + "\n")
