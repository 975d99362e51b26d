"""One connection to the coordinator, from its greeting to its end.

A message is received, answered and confirmed before the next one. What breaks off on the way is kept: a message that
is not answered, or an answer that did not arrive, is gone on with over the next connection.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from wardround.client.agent.desk import OVER, Desk, Work
from wardround.client.agent.news import LOST, fetch_roster, fetch_studies, roster_version, send_decisions
from wardround.client.agent.pulse import Pulse
from wardround.client.agent.renewal import is_due, own_certificate, renew
from wardround.client.federation import connect
from wardround.client.link import Link
from wardround.client.membership import node_key, read_membership
from wardround.common.errors import WardroundError
from wardround.common.memory import WORTH_SECONDS, give_free_memory_back
from wardround.common.wire.federation import Report

if TYPE_CHECKING:
    import threading

    from flwr.app import Message

    from wardround.client.agent.status import StatusFile
    from wardround.client.agent.warm import Worker
    from wardround.client.federation import Connection, Watch
    from wardround.client.home import Home
    from wardround.common.wire.federation import EventKind, Welcome

_WAIT: Final = 2.0
_CHORES: Final = 10.0
"""Seconds between two looks at the outbox, the policy's hours and the certificate."""

_LOOK: Final = 30.0
"""Seconds after which messages are asked for although no event has announced one."""

_RETRY: Final = 60.0
"""Seconds between two looks for a GPU that is gone."""

STOPPED: Final = "WR-1939"
"""The reason in the last report of an agent that ends."""

_log = logging.getLogger("wardround.agent")


class Session:
    """What outlives a single connection: the link with its messages, and an answer that has not arrived.

    Args:
        home: The hospital's home.
        worker: Its worker.
        status: ``status.json``.
        over: Set when the agent is to stop.
    """

    def __init__(self, home: Home, worker: Worker, status: StatusFile, over: threading.Event) -> None:
        self._home, self._worker, self._status, self._over = home, worker, status, over
        self._desk = Desk(home, worker)
        self._link: Link | None = None
        self._place: tuple[int, str] | None = None
        self._question: Message | None = None
        self._reply: Message | None = None
        self._untaken: set[str] = set()
        self._resting = False
        self._looked = 0.0
        self._given = time.process_time()

    def run(self) -> None:
        """Connect and work until the agent stops, or a new connection is needed.

        Raises:
            WardroundError: There is no connection, or it was lost.
        """
        with connect(self._home.path, self._desk.gate.request) as connection:
            welcome = self._greet(connection)
            link = self._linked(connection, welcome)
            if not link.heartbeat():
                raise WardroundError("WR-1901", "The coordinator's SuperLink does not know this hospital's node yet.")
            watch, pulse = connection.watch(), Pulse(connection, link)
            try:
                self._catch_up(connection, welcome)
                self._work(connection, link, watch, pulse)
            finally:
                pulse.stop()
                watch.close()
                if self._over.is_set():
                    self._say_goodbye(connection)
            if self._over.is_set():
                link.close()

    def _say_goodbye(self, connection: Connection) -> None:
        """Say that the agent ends, if that can be said; else the coordinator misses its calls."""
        try:
            connection.report(Report(state="refusing", reason=STOPPED, device=self._device))
        except WardroundError as error:
            _log.warning("The coordinator is not told that the agent ends: %s", error)

    def _greet(self, connection: Connection) -> Welcome:
        version = roster_version(self._home)
        welcome = connection.greet(version)
        if (welcome.site, welcome.consortium) != (self._home.site, read_membership(self._home.path).consortium):
            raise WardroundError("WR-1905", "The coordinator takes this hospital for another one.")
        until = int(own_certificate(self._home).not_valid_after_utc.timestamp())
        _log.info("Connected: %s, release %s", welcome.consortium, welcome.release)
        self._status.change(coordinator=welcome.release, roster=version, until=until, heard=time.time())
        return welcome

    def _linked(self, connection: Connection, welcome: Welcome) -> Link:
        """The node's link: the same one with its messages as long as the SuperLink is the same."""
        place = (welcome.node_id, welcome.incarnation)
        if self._link is None or self._place != place:
            self._question = self._reply = None
            self._link, self._place = Link(connection, node_key(self._home.path), welcome.node_id), place
        self._link.use(connection)
        return self._link

    def _catch_up(self, connection: Connection, welcome: Welcome) -> None:
        waiting = fetch_roster(connection, self._home) if welcome.roster > roster_version(self._home) else None
        self._status.change(offered=waiting)
        self._studies(connection)
        self._look_at_worker()

    def _work(self, connection: Connection, link: Link, watch: Watch, pulse: Pulse) -> None:
        asked = chores = 0.0
        event: EventKind | None = "work"
        while not self._over.is_set():
            now = time.monotonic()
            if event is not None or now - asked > _LOOK:
                self._messages(connection, link, pulse)
                asked = time.monotonic()
            if now - chores > _CHORES:
                chores = now
                if self._chores(connection):
                    return  # connect again, with the new certificate
            if roster_version(self._home) != self._status.now.roster:
                self._accepted(connection)
            self._tell(pulse)
            event = watch.wait(_WAIT)
            if event is None:
                self._give_memory_back()
            if event == "superlink" or pulse.forgotten:
                return
            self._news(event, connection)

    def _give_memory_back(self) -> None:
        """Give back what messages needed, when some work was done since it was given back last."""
        if time.process_time() - self._given > WORTH_SECONDS:
            give_free_memory_back()
            self._given = time.process_time()

    def _messages(self, connection: Connection, link: Link, pulse: Pulse) -> None:
        """Answer every message that waits."""
        while not self._over.is_set():
            if self._question is None:
                if self._rests() or (found := link.receive()) is None:
                    return
                self._question = found
            if self._reply is None:
                self._reply = self._answer(self._question, connection, link, pulse)
            if self._reply is not None:
                self._send(self._reply, self._question, link)
            self._question = self._reply = None

    def _answer(self, question: Message, connection: Connection, link: Link, pulse: Pulse) -> Message | None:
        """The answer; None: nobody waits for it any more."""

        def begins(work: Work) -> None:
            self._status.change(state="working", code=None, words=None, run=work.run, what=work.kind)
            pulse.report(Report(state="working", run=work.run, what=work.kind, device=self._device))

        try:
            return self._desk.answer(question, connection, lambda run: link.run(run).bundle, begins)
        except WardroundError as error:
            if error.code == OVER:
                return None
            if error.code not in LOST:  # it could not be written down: the message is given again
                self._link = None
            raise

    def _send(self, reply: Message, question: Message, link: Link) -> None:
        """Send an answer; a refusal instead of one that the coordinator does not take."""
        if (problem := _sent(link, reply)) is not None and problem.code != OVER:
            _sent(link, self._desk.refuse(question, problem))

    def _news(self, event: EventKind | None, connection: Connection) -> None:
        if event == "roster":
            self._status.change(offered=fetch_roster(connection, self._home))
        elif event == "studies":
            self._studies(connection)

    def _studies(self, connection: Connection) -> None:
        if roster_version(self._home):
            fetch_studies(connection, self._home)

    def _accepted(self, connection: Connection) -> None:
        """People here have accepted another roster: the coordinator hears of it."""
        self._greet(connection)
        self._status.change(offered=None)
        self._studies(connection)

    def _chores(self, connection: Connection) -> bool:
        """Whether a new connection is needed."""
        if roster_version(self._home):
            send_decisions(connection, self._home, self._untaken)
        if self._worker.problem is not None and time.monotonic() - self._looked > _RETRY:
            self._look_at_worker()
        if not is_due(own_certificate(self._home), connection.clock()):
            return False
        return self._renewed(connection)

    def _renewed(self, connection: Connection) -> bool:
        try:
            found = renew(connection, self._home)
        except WardroundError as error:
            if error.code in LOST:
                raise
            _log.error("The certificate is not renewed: %s", error)
            return False
        _log.info("The certificate was renewed; it ends on %s", found.not_valid_after_utc.date().isoformat())
        return True

    def _look_at_worker(self) -> None:
        self._looked = time.monotonic()
        try:
            self._worker.start()
        except WardroundError as error:
            _log.error("The worker does not start: %s", error)

    def _tell(self, pulse: Pulse) -> None:
        """Say how the agent is, here and to the coordinator."""
        problem = self._worker.problem
        if problem is None and self._rests():
            problem = WardroundError("WR-1712", "It is outside of the hours that this hospital's policy trains in.")
        if problem is None and not roster_version(self._home):
            problem = WardroundError("WR-1702", "No roster was accepted here yet.", fix="wardround hospital roster")
        state, code = ("idle", None) if problem is None else ("refusing", problem.code)
        words = None if problem is None else str(problem)
        self._status.change(
            state=state, code=code, words=words, run=None, what=None, device=self._worker.device, heard=pulse.heard
        )
        pulse.report(Report(state="idle" if problem is None else "refusing", reason=code, device=self._device))

    def _rests(self) -> bool:
        """Whether it is outside of the hours of the policy: messages wait then."""
        rests = not self._home.policy.works_at(datetime.now().astimezone().time())
        if rests != self._resting:
            self._resting = rests
            _log.info("Outside of the policy's hours: messages wait" if rests else "Within the policy's hours again")
        return rests

    @property
    def _device(self) -> Literal["cpu", "cuda", "none"]:
        found = self._worker.device
        if self._worker.problem is not None or found is None:
            return "none"
        return "cuda" if found == "cuda" else "cpu"


def _sent(link: Link, reply: Message) -> WardroundError | None:
    """Send an answer; why the coordinator does not take it.

    Raises:
        WardroundError: The connection was lost.
    """
    try:
        link.send(reply)
    except WardroundError as error:
        if error.code in LOST:
            raise
        _log.error("The coordinator does not take an answer: %s", error)
        return error
    return None
