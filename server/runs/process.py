"""The parent's side of one run's process."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from wardround.server.files import append_private
from wardround.server.runs.talk import FROM_CHILD, Changed, Replied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.server.runs.talk import FromChild, Order, Presence

STOP_SECONDS: Final = 10.0


class RunProcess:
    """A process that carries out one run; it ends with this one, however that ends.

    Attributes:
        sites: Flower node id of every site, as it was told; empty before its order.

    Args:
        log: File that its standard error is added to.
        said: Called with each thing that it says, in a thread of its own.
    """

    def __init__(self, log: Path, said: Callable[[FromChild], None]) -> None:
        self.sites: Mapping[SiteId, int] = {}
        self._said = said
        self._writing = threading.Lock()
        self._presence: Mapping[SiteId, Presence] | None = None
        with append_private(log) as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "wardround.server.runs.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._reader = threading.Thread(target=self._read, name="run", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status once it has ended and all that it said was heard; None before."""
        status = self._process.poll()
        return None if status is None or self._reader.is_alive() else status

    def order(self, order: Order) -> None:
        """Let it begin, when it is ready."""
        self.sites, self._presence = order.sites, order.presence
        self._write(order.line())

    def replied(self, node: int) -> None:
        """Tell it that a node has replied; any thread may call."""
        if node in self.sites.values():
            self._write(Replied(node=node).line())

    def hear(self, presence: Mapping[SiteId, Presence]) -> None:
        """Tell it who is there, if that has changed since it was told."""
        if self._presence is None:
            return
        changed = {site: found for site, found in presence.items() if self._presence.get(site) != found}
        if changed:
            self._presence = presence
            self._write(Changed(presence=changed).line())

    def stop(self) -> None:
        """End it; what it has committed is durable."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()

    def close(self) -> None:
        """Let go of what is left of an ended process."""
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what it was to be told last is of no interest
                    continue

    def _write(self, line: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise RuntimeError("the process has no standard input")
        with self._writing:
            try:
                pipe.write(line)
                pipe.flush()
            except (BrokenPipeError, ValueError):  # it has ended, or was closed: the manager sees that by its status
                return

    def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            raise RuntimeError("the process has no standard output")
        for line in pipe:
            try:
                said = FROM_CHILD.validate_json(line)
            except ValidationError:  # half a line of a process that was killed
                continue
            self._said(said)
