"""The coordinator's log: one JSON object a line in ``log/coordinator.jsonl``, and a line for people on the terminal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from wardround.server.files import append_private

LOG: Final = "coordinator.jsonl"
_LARGEST: Final = 16 << 20
_KEPT: Final = 8
_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, where, what, and the fields that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _KNOWN},
        }
        if record.exc_info is not None:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def write_logs(folder: Path, terminal: TextIO | None) -> logging.Handler:
    """Send what wardround logs to the folder ``log`` of a coordinator, and to a terminal if one is given.

    Returns:
        The handler of the file, for :func:`end_logs`.
    """
    (folder / "log").mkdir(mode=0o700, exist_ok=True)
    file = _PrivateFile(folder / "log" / LOG, maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8")
    file.setFormatter(JsonLines())
    root = logging.getLogger("wardround")
    root.setLevel(logging.INFO)
    root.propagate = False
    root.addHandler(file)
    if terminal is not None:
        shown = logging.StreamHandler(terminal)
        shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        root.addHandler(shown)
    return file


def end_logs() -> None:
    """Close every handler that :func:`write_logs` has opened."""
    root = logging.getLogger("wardround")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()


class _PrivateFile(RotatingFileHandler):
    """Its files are their owner's alone."""

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(append_private(Path(self.baseFilename)), encoding="utf-8")
