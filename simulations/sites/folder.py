"""A hospital's folder on disk: made whole or not at all, and made once."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MADE_FROM = "made_from.json"
"""File in a finished folder that says what it was made from, and the size of every other file."""


def make_once(folder: Path, made_from: object, fill: Callable[[Path], None]) -> None:
    """Fill ``folder``, unless it was already filled from the same inputs.

    The content is written beside it and renamed into place, so that an interrupted filling leaves
    no folder that looks finished; the next call does it again.

    Args:
        folder: Where the finished content is to be.
        made_from: Everything the content depends on, as JSON values.
        fill: Writes the content into the (empty) folder it is given.
    """
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    if _finished(folder, digest):
        return
    draft = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    fill(draft)
    record = {"digest": digest, "files": _sizes(draft)}
    (draft / MADE_FROM).write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    draft.replace(folder)


def _finished(folder: Path, digest: str) -> bool:
    try:
        record = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent or damaged: it is made again
        return False
    return isinstance(record, dict) and record == {"digest": digest, "files": _sizes(folder)}


def _sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file but the record, by its path in the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MADE_FROM)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
