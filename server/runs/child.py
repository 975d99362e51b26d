"""The process of one run: ``python -m wardround.server.runs.child``.

It loads the installed ServerApp, says that it is ready, reads an order and then news from standard input, and writes
what happens to standard output. It ends when standard input ends, which is when the coordinator's process has ended:
what was committed before is durable, and the next process goes on from there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, BinaryIO, Final

from wardround.common.errors import WardroundError
from wardround.server.app import app
from wardround.server.flower import RuntimeGrid
from wardround.server.memory import tend_memory
from wardround.server.plan import PLAN_KEY
from wardround.server.runs.talk import (
    TO_CHILD,
    Changed,
    Ended,
    Failed,
    Gathering,
    Opened,
    Order,
    Pushed,
    Ready,
    RoundCommitted,
    Taken,
)
from wardround.server.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wardround.common.ids import SiteId
    from wardround.server.rounds.state import RoundRecord
    from wardround.server.runs.talk import FromChild

PARENT_ENDED: Final = 3
"""Exit status of a process whose parent ended."""

_LOOK_SECONDS: Final = 1.0


class Run:
    """One run in this process.

    Args:
        order: What to run.
        out: Where to tell what happens.
    """

    def __init__(self, order: Order, out: BinaryIO) -> None:
        self._order, self._out = order, out
        self._presence = dict(order.presence)
        self._bell = threading.Condition()
        self._round = 0
        self._writing = threading.Lock()
        self.grid = _Grid(order.address, order.root.encode(), order.token, self._pushed, taken=self._taken)
        self.grid.surroundings = Surroundings(
            sites=order.sites,
            silent=self.silent,
            wait=lambda _: None,  # the grid has waited already
            gather=self.gather,
            opened=self._opened,
            committed=self._committed,
        )

    def listen(self, lines: BinaryIO) -> None:
        """Take news until the parent ends; then end as well."""
        for line in lines:
            news = TO_CHILD.validate_json(line)
            if isinstance(news, Changed):
                with self._bell:
                    self._presence |= news.presence
                    self._bell.notify_all()
            else:
                self.grid.replied(news.node)
        os._exit(PARENT_ENDED)

    def carry_out(self) -> bool:
        """Run the ServerApp to its end; whether it came there."""
        context = self.grid.begin()
        context.run_config = {PLAN_KEY: str(self._order.plan)}
        try:
            app(self.grid, context)
        except WardroundError as error:
            self.grid.finish(completed=False, words=error.code)
            self._say(Failed(code=error.code, what=error.what))
            return False
        self.grid.finish(completed=True)
        self._say(Ended())
        return True

    def silent(self, site: SiteId) -> str | None:
        """Why no answer of a site is to be expected."""
        with self._bell:
            found = self._presence.get(site)
        return found.words if found is not None and found.state == "silent" else None

    def gather(self, sites: Collection[SiteId], needed: int) -> None:
        """Wait until enough sites are heard, and none is expected that may still come."""
        told: tuple[SiteId, ...] | None = None
        with self._bell:
            while not self._enough(sites, needed):
                missing = tuple(site for site in sites if self._presence[site].state != "heard")
                if missing != told:
                    self._say(Gathering(missing=missing, needed=needed))
                    told = missing
                self._bell.wait(_LOOK_SECONDS)
        if told is not None:
            self._say(Opened(round=self._round))

    def _enough(self, sites: Collection[SiteId], needed: int) -> bool:
        states = [self._presence[site].state for site in sites]
        return "expected" not in states and states.count("heard") >= needed

    def _opened(self, number: int) -> None:
        self._round = number
        self._say(Opened(round=number))

    def _committed(self, record: RoundRecord) -> None:
        self._say(
            RoundCommitted(
                round=record.round,
                sites=record.sites,
                dropped=dict(record.dropped),
                silent=dict(record.silent),
                attempts=record.attempts,
                seconds=record.seconds,
                bytes_up=record.bytes_up,
                bytes_down=record.bytes_down,
            )
        )

    def _pushed(self, nodes: Sequence[int]) -> None:
        self._say(Pushed(nodes=tuple(nodes)))

    def _taken(self, node: int) -> None:
        self._say(Taken(node=node))

    def _say(self, what: FromChild) -> None:
        with self._writing:
            self._out.write(what.line())
            self._out.flush()


class _Grid(RuntimeGrid):
    """A grid that knows its surroundings."""

    surroundings: Surroundings


def main() -> int:
    """Carry out the order on standard input; the exit status."""
    tend_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the parent decides
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    out.write(Ready().line())
    out.flush()
    run = Run(Order.model_validate_json(sys.stdin.buffer.readline()), out)
    threading.Thread(target=run.listen, args=(sys.stdin.buffer,), name="parent", daemon=True).start()
    return 0 if run.carry_out() else 1


if __name__ == "__main__":
    try:
        status = main()
    except BaseException:  # noqa: BLE001 - the log is the only place where it can be told
        traceback.print_exc()
        status = 2
    sys.stderr.flush()
    os._exit(status)  # a thread waits for standard input, which would keep the interpreter from ending
