"""``status.json``: how the agent is, for ``wardround hospital doctor`` and whoever watches this machine.

It is written whenever something changes, and once a minute. ``agent.lock`` is held by a running agent and by nobody
else: a lock of a process that is gone does not exist.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS: Final = "status.json"
LOCK: Final = "agent.lock"
_REFRESH: Final = 60.0
_log = logging.getLogger("wardround.agent")

State: TypeAlias = Literal["starting", "connecting", "idle", "working", "refusing", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class Status:
    """How the agent is.

    Attributes:
        state: ``connecting``: it is not connected, for the reason that ``code`` gives; ``idle`` and ``working``: it
            takes part; ``refusing``: it is connected and takes no part; ``refused``: the coordinator does not take it.
        at: When this was written, seconds since 1970, UTC.
        since: Since when the state and its reason are as they are.
        process: Of the agent.
        code: Why; a ``WR`` code.
        words: What happened and what to do.
        heard: When the coordinator answered last.
        coordinator: Its release.
        device: What the worker computes on, ``cpu`` or ``cuda``.
        roster: Version of the accepted roster; 0: none.
        offered: Version of a roster that waits for a person.
        until: When the certificate ends.
        run: The study run that is worked on.
        what: Kind of the message that is worked on.
    """

    state: State = "starting"
    at: float = 0.0
    since: float = 0.0
    process: int = 0
    code: str | None = None
    words: str | None = None
    heard: float | None = None
    coordinator: str | None = None
    device: str | None = None
    roster: int = 0
    offered: int | None = None
    until: int | None = None
    run: str | None = None
    what: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields that have a value."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class StatusFile:
    """Keeps ``status.json``.

    Args:
        home: The hospital's home folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / STATUS
        before = read_status(home)
        self.now = Status(process=os.getpid(), device=None if before is None else before.device)

    def change(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of Status
        """Set fields; the file is written if that changes something, or the minute is over."""
        moment = time.time()
        changed = replace(self.now, **fields)
        other = (changed.state, changed.code) != (self.now.state, self.now.code)
        changed = replace(changed, since=moment if other or not self.now.since else self.now.since)
        timeless = replace(changed, heard=self.now.heard)
        if timeless != self.now or moment - self.now.at > _REFRESH:
            changed = replace(changed, at=moment)
            self._write(changed)
        self.now = changed

    def _write(self, status: Status) -> None:
        partial = self._path.with_name(f".{STATUS}")
        try:  # whole, but not durable: it is written with every message, and after a power cut it is old anyway
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(status.as_json(), file)
            partial.replace(self._path)
        except OSError as error:  # doctor says that it is old
            _log.error("%s cannot be written (%s)", STATUS, type(error).__name__)


def read_status(home: Path) -> Status | None:
    """What the agent wrote last; None: it never ran here, or the file is damaged."""
    try:
        return Status(**json.loads((home / STATUS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keep a second agent of the same hospital from starting.

    Raises:
        WardroundError: WR-1916, one is running.
    """
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WardroundError("WR-1916", "The agent of this hospital is running already.") from None
        yield
    finally:
        os.close(handle)


def is_running(home: Path) -> bool:
    """Whether an agent of this hospital runs on this machine."""
    try:
        with only_one(home):
            return False
    except WardroundError:
        return True
