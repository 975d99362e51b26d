"""The agent's side of its worker: started early, kept warm, and replaced when it dies.

A worker that dies costs the message that it worked on (WR-1917), nothing else. A GPU that was asked for, or was there
before, and is not there now is a refusal (WR-1918): nothing is ever computed on another processor instead.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wardround.client.agent import frames
from wardround.client.agent.environment import worker_environment
from wardround.client.home import Home
from wardround.common.errors import WardroundError
from wardround.common.vector import Entry, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.client.agent.frames import Question, Ready, Reply
    from wardround.common.ids import StudyId

LOG: Final = "worker.log"
"""What the worker and its libraries print; begun anew with every worker."""

OUT_OF_MEMORY: Final = 71
GPU_LOST: Final = 72
"""Exit statuses of the worker, see :mod:`wardround.client.agent.worker`, which the agent does not import."""

WORKER: Final = (sys.executable, "-I", "-m", "wardround.client.agent.worker")
"""The only worker that a hospital ever runs: no setting, argument or variable names another one."""

_START: Final = 600.0
"""Seconds that a worker has to load its libraries, from a slow disk too."""

_PATIENCE: Final = 5.0
"""Seconds that a worker has to end by itself once its socket is closed."""


class WorkerEndedError(Exception):
    """The worker was ended because the agent ends: that is no answer to anything."""


@dataclass
class _Running:
    """A worker, and the settings that it was started with."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    settings: _Settings
    ready: Ready | None = None


class _Settings(NamedTuple):
    """What a running worker cannot change: processor, threads and memory. Data sets it reads anew by itself."""

    device: str
    threads: int
    memory_mb: int


class Worker:
    """A hospital's worker process.

    It has to be used from one thread, which lives as long as the agent: the kernel ends the worker with it.

    Args:
        home: The hospital's home folder.
        last_device: ``cpu`` or ``cuda``, what the last worker of this hospital computed on; None: there was none.
        command: Starts the worker; socket, home and memory are added to it.
    """

    def __init__(self, home: Path, last_device: str | None = None, command: Sequence[str] = WORKER) -> None:
        self._home = home
        self._last_device = last_device
        self._command = command
        self._running: _Running | None = None
        self._over = False
        self.problem: WardroundError | None = None
        """Why it cannot work at the moment: the GPU is gone."""

    @property
    def device(self) -> str | None:
        """What the last usable worker computes on; None: there was none yet."""
        return self._last_device

    @property
    def process(self) -> int | None:
        """The process id; None: there is none at the moment."""
        return None if self._running is None else self._running.process.pid

    def start(self) -> Ready:
        """Start the worker unless it runs, and wait until it is warm.

        Raises:
            WardroundError: WR-1917, it died while it started; WR-1918, the configured GPU is not there; WR-1305, the
                hospital's settings are damaged.
        """
        running = self._current()
        if running.ready is None:
            running.connection.settimeout(_START)
            letter, header, _ = self._receive(running)
            running.connection.settimeout(None)
            if letter != frames.READY:
                raise RuntimeError("the worker did not begin with READY")
            running.ready = frames.Ready(**header)
            self._check_device(running.ready)
            self.problem = None
        return running.ready

    def ask(self, question: Question, vector: bytes | memoryview = b"") -> tuple[Reply, bytearray]:
        """Let the worker answer a message.

        Args:
            question: The message.
            vector: The bytes of its vector.

        Returns:
            The answer and the bytes of its vector.

        Raises:
            WardroundError: WR-1917, the worker died of it, or memory ran out; WR-1918; WR-1305.
        """
        self.start()
        letter, header, body = self._exchange(frames.QUESTION, question, vector)
        if letter != frames.REPLY:
            raise RuntimeError("the worker did not answer a question with a reply")
        reply = frames.read_reply(header)
        if reply.reason is not None and reply.reason.startswith("WR-1601"):
            raise self._without_gpu()
        return reply, body

    def layout(self, study: StudyId) -> Layout:
        """The layout of what the model of an approved study sends.

        Raises:
            WardroundError: The hospital's refusal of the study; WR-1917; WR-1918; WR-1305.
        """
        self.start()
        letter, header, _ = self._exchange(frames.SIZES, study)
        if letter != frames.LAYOUT:
            raise RuntimeError("the worker did not answer with a layout")
        if "refused" in header:
            code, _, what = header["refused"].partition(": ")
            raise WardroundError(code, what)
        return Layout(tuple(Entry(name, tuple(shape)) for name, shape in header["entries"]))

    def warm(self) -> None:
        """Begin to start the worker, without waiting for it."""
        self._current()

    def stop(self) -> None:
        """End the worker."""
        running, self._running = self._running, None
        if running is None:
            return
        running.connection.close()
        try:
            running.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()

    def kill(self) -> None:
        """End the worker for good and at once, from a signal handler.

        Whoever waits for its answer gets a :class:`WorkerEndedError`.
        """
        self._over = True
        if self._running is not None:
            self._running.process.kill()

    def _exchange(self, letter: bytes, header: object, body: bytes | memoryview = b"") -> tuple[bytes, Any, bytearray]:
        running = self._current()
        try:
            frames.send(running.connection, letter, header, body)
        except OSError:
            raise self._died(running) from None
        return self._receive(running)

    def _receive(self, running: _Running) -> tuple[bytes, Any, bytearray]:
        try:
            return frames.receive(running.connection)
        except (EOFError, OSError, ValueError, WardroundError):  # what it says is none of a worker's words
            raise self._died(running) from None

    def _died(self, running: _Running) -> WardroundError:
        """What to answer; another worker begins to start meanwhile."""
        running.connection.close()
        running.process.kill()  # one that does not start is alive
        status = running.process.wait()
        started = running.ready is not None
        self._running = None
        if self._over:
            raise WorkerEndedError
        if started:
            self.warm()
        if status == GPU_LOST:
            return self._without_gpu()
        return WardroundError("WR-1917", f"The worker {_ending(status)}{'' if started else ' while it started'}.")

    def _current(self) -> _Running:
        """The worker; a new one where there is none, where it died with nothing to do, or after new settings."""
        settings = self._settings()
        if self._running is not None and self._running.process.poll() is not None:
            self.stop()
        running = self._running
        if running is not None and running.settings != settings:
            self.stop()
            if running.settings.device != settings.device:
                self._last_device = None  # whoever writes another device into the settings knows it
        if self._running is None:
            self._running = self._spawn(settings)
        return self._running

    def _settings(self) -> _Settings:
        found = Home(self._home).settings
        return _Settings(found.device, found.threads, found.worker.memory_mb or 0)

    def _spawn(self, settings: _Settings) -> _Running:
        ours, theirs = socket.socketpair()
        log = os.open(self._home / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, and no shell
                [*self._command, str(theirs.fileno()), str(self._home.resolve()), str(settings.memory_mb)],
                env=worker_environment(self._home.resolve(), settings.threads),
                cwd=self._home,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        finally:
            theirs.close()
            os.close(log)
        return _Running(process, ours, settings)

    def _check_device(self, ready: Ready) -> None:
        lost = self._current().settings.device == "auto" and self._last_device == "cuda" and ready.device != "cuda"
        if ready.refused is not None or lost:
            raise self._without_gpu()
        self._last_device = ready.device

    def _without_gpu(self) -> WardroundError:
        """What to answer. The worker is ended: the next one looks for the GPU anew."""
        self.stop()
        self.problem = WardroundError("WR-1918", "The GPU that this hospital trains on is not there.")
        return self.problem


def _ending(status: int) -> str:
    if status == OUT_OF_MEMORY:
        return "ran out of memory"
    if status < 0:
        return f"was ended by the system ({signal.Signals(-status).name})"
    return f"ended by itself with status {status}"
