"""What must survive a restart of the coordinator of a private run.

* ``numbers``: the newest session, round and attempt, before any message about them leaves;
* ``session``: the session that everybody joined;
* ``bound``: the survivor set whose shares may have been asked for, before any message asks;
* what was committed, with the head of the log (:mod:`wardround.server.rounds.records`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.ids import SiteId
from wardround.common.secagg.context import HASH, SessionContext
from wardround.common.secagg.coordinator_attempt import RECORD
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.framing import Reader, Writer
from wardround.server.rounds.records import CommittedRecords

if TYPE_CHECKING:
    from wardround.common.study import Study
    from wardround.server.private.store import FolderStore
    from wardround.server.rounds.committed import Committed

_NUMBERS: Final = "numbers"
_SESSION: Final = "session"
_BOUND: Final = "bound"
_LONGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class JoinedSession:
    """A session that its whole cohort has joined.

    Attributes:
        context: What it is about.
        transcript: T, 32 bytes.
    """

    context: SessionContext
    transcript: bytes


class RunRecords:
    """The records of one private run.

    Args:
        store: Where they lie.
        study: The run's study.
    """

    def __init__(self, store: FolderStore, study: Study) -> None:
        self.store = store
        self._committed = CommittedRecords(store, study)

    # Numbers

    def next_session(self) -> int:
        """Number of a new session; larger than every earlier one, durably."""
        session = self._numbers()[0] + 1
        self._keep_numbers(session, 0, 0)
        return session

    def next_attempt(self, number: int) -> int:
        """Number of a new attempt of round ``number``; never given before, durably."""
        session, newest, attempt = self._numbers()
        attempt = attempt + 1 if newest == number else 1
        self._keep_numbers(session, number, attempt)
        return attempt

    def bind(self, number: int, sites: tuple[SiteId, ...]) -> None:
        """Shares for the sum over ``sites`` may be asked for in round ``number``; durable on return."""
        writer = Writer().u32(number)
        for site in sites:
            writer.variable(site.encode())
        self.store.commit({_BOUND: writer.bytes()})

    def bound(self, number: int) -> tuple[SiteId, ...]:
        """The survivor set that round ``number`` is bound to; empty while shares were not asked for."""
        found = self.store.get(_BOUND)
        if found is None:
            return ()
        reader = Reader(found, "stored survivor set", "WR-1714")
        if reader.u32() != number:
            return ()
        sites: list[SiteId] = []
        while not reader.at_end:
            sites.append(SiteId(reader.variable(_LONGEST).decode()))
        return tuple(sites)

    def _numbers(self) -> tuple[int, int, int]:
        found = self.store.get(_NUMBERS)
        if found is None:
            return 0, 0, 0
        reader = Reader(found, "stored numbers", "WR-1714")
        return reader.u32(), reader.u32(), reader.u32()

    def _keep_numbers(self, session: int, number: int, attempt: int) -> None:
        """The attempt before, if its survivor set was fixed, is over: its sum is about to be replaced."""
        self.store.commit({_NUMBERS: Writer().u32(session).u32(number).u32(attempt).bytes(), RECORD: None})

    # The session

    def session(self) -> JoinedSession | None:
        """The session that was joined; None before."""
        found = self.store.get(_SESSION)
        if found is None:
            return None
        reader = Reader(found, "stored session", "WR-1714")
        joined = JoinedSession(SessionContext.decode(reader.variable(_LONGEST)), reader.fixed(HASH))
        reader.end()
        return joined

    def keep_session(self, session: JoinedSession) -> None:
        """The whole cohort has joined."""
        writer = Writer().variable(session.context.encode()).fixed(session.transcript, HASH)
        self.store.commit({_SESSION: writer.bytes()})

    def pending(self) -> CoordinatorRecord | None:
        """The attempt whose survivor set was fixed and whose round was not committed; None for none."""
        found = self.store.get(RECORD)
        return None if found is None else CoordinatorRecord.decode(found)

    # What was committed

    def committed(self) -> tuple[Committed, bytes] | None:
        """The model with its history, and the head of the log; None before the first round."""
        return self._committed.committed()

    def keep_committed(self, committed: Committed, head: bytes) -> None:
        """A round, or the last validation, is committed; the attempt in progress is over."""
        self._committed.keep(committed, head=head, over=(RECORD, _BOUND))
