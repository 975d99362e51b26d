"""The agent's pulse: heartbeats and reports, whatever the rest of it is busy with."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.federation import Connection
    from wardround.client.link import Link
    from wardround.common.wire.federation import Report

BEAT_SECONDS: Final = 5.0
"""Flower gives a node up after two intervals of ten seconds."""

_TICK: Final = 1.0
_log = logging.getLogger("wardround.agent")


class Pulse:
    """Sends heartbeats of one session from a thread of its own, and the newest report once it has stood for a second.

    Args:
        connection: To the gateway.
        link: Of the node.
    """

    def __init__(self, connection: Connection, link: Link) -> None:
        self._connection, self._link = connection, link
        self._over = threading.Event()
        self._wanted: Report | None = None
        self._sent: Report | None = None
        self.forgotten = False
        """Whether the SuperLink does not know the node any more: it has to greet again."""
        self.heard = time.time()
        """When the coordinator answered last."""
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def report(self, report: Report) -> None:
        """Tell the coordinator how the agent is, unless that changes again at once."""
        self._wanted = report

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        last, before = 0.0, self._wanted
        while not self._over.wait(_TICK):
            try:
                if time.monotonic() - last >= BEAT_SECONDS:
                    self.forgotten = not self._link.heartbeat()
                    last, self.heard = time.monotonic(), time.time()
                wanted = self._wanted
                if wanted is not None and wanted == before and wanted != self._sent:
                    self._connection.report(wanted)
                    self._sent = wanted
                before = wanted
            except WardroundError as error:
                last = time.monotonic()
                _log.warning("No heartbeat: %s", error)
