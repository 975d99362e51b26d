"""``wardround hospital serve``: the agent's process.

It holds one outgoing connection and listens on nothing. A connection that is lost is made anew, at growing intervals;
while the coordinator does not take this hospital, the agent says so again and again, in its log and in ``status.json``.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import secrets
import signal
import threading
from typing import TYPE_CHECKING, Final

from wardround.client.agent.confine import leave_no_dump
from wardround.client.agent.session import Session
from wardround.client.agent.status import StatusFile, only_one
from wardround.client.agent.warm import WORKER, Worker, WorkerEndedError
from wardround.client.fault import LOG as FAULTS
from wardround.client.fault import write_fault
from wardround.client.home import Home
from wardround.client.membership import read_membership
from wardround.common.errors import WardroundError
from wardround.common.memory import bound_free_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

LOG: Final = "agent.log"
LOG_BYTES: Final = 4 << 20

REFUSED: Final = frozenset({"WR-1905", "WR-1907", "WR-1908", "WR-1909", "WR-1914", "WR-1921"})
"""Not a matter of time: somebody has to do something."""

_FIRST, _LAST, _LAST_REFUSED = 1.0, 20.0, 60.0
"""Seconds until the next attempt: after the first failure, at most, and at most where somebody has to act."""

_log = logging.getLogger("wardround.agent")


def serve(path: Path, worker: Sequence[str] = WORKER) -> None:
    """Run the agent of a hospital until SIGTERM or SIGINT.

    Args:
        path: The hospital's home folder.
        worker: The command of its worker; only tests give another one.

    Raises:
        WardroundError: WR-1916, it runs already; WR-1305 or WR-1914, the home folder is not that of a member.
    """
    leave_no_dump()
    bound_free_memory()
    home = Home(path)
    read_membership(path)
    with only_one(path):
        _log_to(path)
        Agent(home, worker).run()


class Agent:
    """The agent of one hospital.

    Args:
        home: Its home.
        worker: The command of its worker.
    """

    def __init__(self, home: Home, worker: Sequence[str] = WORKER) -> None:
        self._home = home
        self._over = threading.Event()
        self._status = StatusFile(home.path)
        self._worker = Worker(home.path, self._status.now.device, worker)
        self._session = Session(home, self._worker, self._status, self._over)
        self._delay = 0.0

    def run(self) -> None:
        """Work until a signal says stop; from the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        _log.info("The agent starts")
        self._status.change(state="connecting", code=None, words=None, run=None, what=None)
        try:
            self._worker.warm()
            while not self._over.is_set():
                self._connected_once()
        finally:
            self._worker.stop()
            self._status.change(state="stopped", code=None, words=None, run=None, what=None)
            _log.info("The agent ends")

    def _connected_once(self) -> None:
        try:
            self._session.run()
        except WorkerEndedError:  # the loop ends
            return
        except WardroundError as error:
            if not self._over.is_set():
                self._failed(error)
        except OSError as error:  # a full disk: nothing that is not written down may go on
            self._failed(WardroundError("WR-1914", f"The home folder cannot be used ({type(error).__name__})."))
        except Exception as error:  # noqa: BLE001 - a bug, or what the coordinator sent: it is said, and the agent goes on
            write_fault(str(self._home.path), error)
            self._failed(WardroundError("WR-1925", f"{FAULTS} in the home folder says why."))
        else:
            self._delay = 0.0

    def _failed(self, error: WardroundError) -> None:
        """Say it, and wait; after a connection that held for a while the wait is short again."""
        refused = error.code in REFUSED
        if self._status.now.state in {"idle", "working", "refusing"}:
            self._delay = 0.0
        self._delay = min(max(2 * self._delay, _FIRST), _LAST_REFUSED if refused else _LAST)
        _log.error("%s", error)
        self._status.change(
            state="refused" if refused else "connecting", code=error.code, words=str(error), run=None, what=None
        )
        self._over.wait(self._delay * (500 + secrets.randbelow(500)) / 1000)  # so that not all come at once

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._over.set()
        self._worker.kill()


def _log_to(path: Path) -> None:
    """Log into the home folder and to the standard error; no line holds more than codes, kinds, runs and sentences."""
    _log.setLevel(logging.INFO)
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handle = os.open(path / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.close(handle)  # made with the rights that it keeps
    file = logging.handlers.RotatingFileHandler(path / LOG, maxBytes=LOG_BYTES, backupCount=3, encoding="utf-8")
    for handler in (file, logging.StreamHandler()):
        handler.setFormatter(form)
        _log.addHandler(handler)
