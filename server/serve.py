"""The coordinator's process: SuperLink, gateway and runs, from start to stop.

It is the parent of all others: when it ends, however it ends, they end too. Nothing is lost with them, because what was
committed is on disk and the database says which runs go on.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.server import metrics
from wardround.server.consortium import Consortium
from wardround.server.files import write_private
from wardround.server.gateway import Gateway
from wardround.server.lock import STATUS, locked
from wardround.server.logs import end_logs, write_logs
from wardround.server.memory import tend_memory
from wardround.server.runs.manager import RunManager
from wardround.server.superlink import SuperLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType
    from typing import TextIO

log = logging.getLogger("wardround.serve")

TICK_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 2.0


def serve(
    folder: Path,
    *,
    listen: str | None = None,
    metrics_port: int = 9109,
    terminal: TextIO | None = None,
    ready: Callable[[Coordinator], None] | None = None,
) -> None:
    """Run a coordinator until SIGTERM or SIGINT.

    Args:
        folder: The coordinator's folder.
        listen: ``host:port`` of the gateway; None: that of the settings.
        metrics_port: Of the metrics on loopback; 0 for any.
        terminal: Where people read what happens; None: nowhere.
        ready: Called once agents can call.

    Raises:
        WardroundError: WR-1914 or WR-1915, folder or database cannot be used; WR-1916, another one runs on this folder,
            or a port is taken; WR-1922, the SuperLink does not start.
    """
    tend_memory()
    with ExitStack() as stack:
        consortium = stack.enter_context(Consortium(folder))
        stack.enter_context(locked(folder))
        write_logs(folder, terminal)
        stack.callback(end_logs)
        stopping = stack.enter_context(_signals())
        coordinator = Coordinator(consortium, listen=listen, metrics_port=metrics_port)
        stack.callback(coordinator.stop)
        coordinator.start()
        if ready is not None:
            ready(coordinator)
        _notify("READY=1")
        coordinator.run(stopping)
        _notify("STOPPING=1")


class Coordinator:
    """The parts of a running coordinator.

    Args:
        consortium: Whose.
        listen: ``host:port`` of the gateway; None: that of the settings.
        metrics_port: Of the metrics on loopback; 0 for any.
    """

    def __init__(self, consortium: Consortium, *, listen: str | None, metrics_port: int) -> None:
        self._consortium, self._metrics_port = consortium, metrics_port
        self._started_at = time.time()
        settings = consortium.settings.runs
        self.superlink = SuperLink(consortium.path)
        self.manager = RunManager(
            consortium, self.superlink, silent_after=settings.silent_seconds, grace=settings.grace_seconds
        )
        self.gateway = Gateway(consortium, self.superlink, self.manager, listen=listen)
        self.metrics: metrics.MetricsServer | None = None
        self._well = False

    def start(self) -> None:
        """Start all parts; on return agents can call.

        Raises:
            WardroundError: WR-1916, a port is taken; WR-1922, the SuperLink does not start.
        """
        self.superlink.start()
        self.gateway.start()
        self.manager.attach(self.gateway)
        numbers = metrics.CoordinatorMetrics(
            self._consortium.store,
            self.manager,
            superlink=lambda: self.superlink.running,
            watching=lambda: len(self.gateway.watching),
            started_at=self._started_at,
        )
        self.metrics = metrics.MetricsServer(self._metrics_port, numbers, lambda: self._well)
        write_private(self._consortium.path / STATUS, json.dumps(self.status()).encode())
        found = self.status()
        log.info(
            "serves: gateway port %s, metrics on %s:%s", self.gateway.port, metrics.HOST, self.metrics.port, extra=found
        )

    def run(self, stopping: threading.Event) -> None:
        """Look after everything until told to stop."""
        while not stopping.is_set():
            try:
                self._look()
                self._well = True
            except WardroundError as error:
                self._well = False
                log.error("%s: %s", error.code, error.what)  # noqa: TRY400 - refusals need no traceback
                stopping.wait(_PAUSE_SECONDS)
            self.manager.news.wait(TICK_SECONDS)
            self.manager.news.clear()

    def stop(self) -> None:
        """End all parts; runs stay as they are and go on with the next start."""
        self.manager.drop()
        self.gateway.stop()
        if self.metrics is not None:
            self.metrics.stop()
        self.superlink.stop()
        (self._consortium.path / STATUS).unlink(missing_ok=True)
        log.info("stopped")

    def status(self) -> dict[str, object]:
        """What it says of itself."""
        return {
            "pid": os.getpid(),
            "started_at": int(self._started_at),
            "gateway_port": self.gateway.port,
            "metrics_port": None if self.metrics is None else self.metrics.port,
        }

    def _look(self) -> None:
        if not self.superlink.running:
            log.error("the SuperLink ended; it is started again, and runs go on after their last committed rounds")
            self._consortium.store.add_event("superlink.died")
            self.manager.drop()
            self.superlink.stop()
            self.superlink.start()
        self.manager.tick()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notify(state: str) -> None:
    """Tell systemd, where it asks to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
