"""Processes that end with this one: started in groups of their own, watched, ended in turn.

A group is ended by SIGTERM, and by SIGKILL when it takes too long. What a process prints goes to a file, whose end is
shown when it ends without being asked to.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self, TypeVar

from wardround.common.errors import WardroundError
from wardround.simulations.deployed.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

Found = TypeVar("Found")

PATIENCE: Final = 20.0
"""Seconds that a process has to end after SIGTERM."""

POLL: Final = 0.02
"""Seconds between two looks at something that is waited for."""

_LAST_WORDS: Final = 300


class Process:
    """One process and its group.

    Args:
        name: For people.
        command: Absolute path of a program, and its arguments.
        log: File for what it prints.
        environment: Its whole environment.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as out:
            # The command is this program's own, or the peer's of a benchmark.
            self._process = subprocess.Popen(  # noqa: S603
                leashed(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, and id of its group."""
        return self._process.pid

    def check_alive(self) -> None:
        """Refuse to go on without it.

        Raises:
            WardroundError: WR-1523, it has ended.
        """
        status = self._process.poll()
        if status is not None:
            raise WardroundError("WR-1523", f"{self.name} ended with {status}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it printed."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return (lines or ["it said nothing"])[-1][-_LAST_WORDS:]

    def wait(self, seconds: float) -> int:
        """Its exit status, when it has ended.

        Raises:
            WardroundError: WR-1523, it takes longer.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise WardroundError("WR-1523", f"{self.name} took longer than {seconds:g} s.") from None

    def stop(self, patience: float = PATIENCE) -> int:
        """End it and its whole group; its exit status."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._signal(signal.SIGKILL)  # those of the group that outlived it
        return self._process.wait()

    def kill(self) -> None:
        """End it and its whole group at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Processes:
    """The processes of a federation; a context that ends them, the last one first.

    Args:
        logs: Folder for what they print.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """Start one more."""
        process = Process(name, command, self._logs / f"{name}.txt", environment)
        self._running.append(process)
        return process

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], seconds: float) -> None:
        """Run a command to its end.

        Raises:
            WardroundError: WR-1523, it fails, or takes longer than ``seconds``.
        """
        process = Process(name, command, self._logs / f"{name}.txt", environment)
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
        if status != 0:
            raise WardroundError("WR-1523", f"{name} ended with {status}: {process.last_words()}")

    def stop(self) -> None:
        """End all of them."""
        while self._running:
            self._running.pop().stop()

    def wait_until(self, look: Callable[[], Found | None], what: str, seconds: float) -> Found:
        """What ``look`` finds, as soon as it finds something.

        Args:
            look: Returns None as long as there is nothing yet.
            what: What is waited for, for people.
            seconds: For how long at most.

        Raises:
            WardroundError: WR-1523, one of the processes has ended, or the time is over.
        """
        end = time.monotonic() + seconds
        while (found := look()) is None:
            for process in self._running:
                process.check_alive()
            if time.monotonic() > end:
                raise WardroundError("WR-1523", f"{what}: not within {seconds:g} s.")
            time.sleep(POLL)
        return found


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
