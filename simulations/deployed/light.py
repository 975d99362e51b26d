"""``python -m wardround.simulations.deployed.light HOME …``: agents of many hospitals in one process, for measurements.

Each hospital has the agent's own session: its connection, its link, its egress gate. What trains is the installed
ClientApp in this process, one message after the other, in place of a worker for each.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wardround.client.agent import worker
from wardround.client.agent.session import Session
from wardround.client.agent.status import StatusFile
from wardround.client.agent.warm import Worker
from wardround.client.home import Home
from wardround.common.errors import WardroundError
from wardround.common.vector import Entry, Layout

if TYPE_CHECKING:
    from wardround.client.agent.frames import Question, Ready, Reply
    from wardround.common.ids import StudyId

_AGAIN: Final = 2.0
"""Seconds until a lost connection is made anew: many that begin at once on few cores miss their first deadline."""

_ONE_AT_A_TIME: Final = threading.Lock()


class LightWorker(Worker):
    """Answers in this process."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._place = str(home)

    def start(self) -> Ready:
        """Nothing is to be started."""
        with _ONE_AT_A_TIME:
            found = worker.ready(self._place)
        self._last_device = found.device
        return found

    def ask(self, question: Question, vector: bytes | memoryview = b"") -> tuple[Reply, bytearray]:
        """The ClientApp's answer, when it is this hospital's turn."""
        with _ONE_AT_A_TIME:
            reply, body = worker.answer(question, bytearray(vector), self._place)
        return reply, bytearray(body)

    def layout(self, study: StudyId) -> Layout:
        """Layout of the study's model."""
        with _ONE_AT_A_TIME:
            found = worker.layout(Path(self._place), study)
        if "refused" in found:
            code, _, what = found["refused"].partition(": ")
            raise WardroundError(code, what)
        return Layout(tuple(Entry(name, tuple(shape)) for name, shape in found["entries"]))

    def warm(self) -> None:
        """Nothing is to be started."""


def attend(home: Path, over: threading.Event) -> None:
    """Be the agent of one hospital until told to stop; lost connections are made anew."""
    session = Session(Home(home), LightWorker(home), StatusFile(home), over)
    while not over.is_set():
        try:
            session.run()
        except WardroundError as error:
            sys.stderr.write(f"{home.name}: {error.code}\n")
            over.wait(_AGAIN)


def main() -> None:
    """Attend to all hospitals of the command line."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    attending = [threading.Thread(target=attend, args=(Path(home), over)) for home in sys.argv[1:]]
    for thread in attending:
        thread.start()
    for thread in attending:
        thread.join()


if __name__ == "__main__":
    main()
