"""What must survive a restart of the coordinator of a private run.

* ``numbers``: the newest session, round and attempt, before any message about them leaves;
* ``session``: the session that everybody joined;
* ``bound``: the survivor set whose shares may have been asked for, before any message asks;
* ``committed``: head of the log, history, and where the model and the selection rule's candidate lie.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from wardround.common.algorithms.dpsgd import OptimizerState
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.context import HASH, SessionContext
from wardround.common.secagg.coordinator_attempt import RECORD
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.framing import Reader, Writer
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.state import History, MeanValidation, RoundRecord, Selector, Validation

if TYPE_CHECKING:
    from wardround.common.study import Study
    from wardround.server.private.store import FolderStore

_NUMBERS: Final = "numbers"
_SESSION: Final = "session"
_COMMITTED: Final = "committed"
_BOUND: Final = "bound"
_VECTOR: Final = ".f32"
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
        self._study = study

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
        found = self.store.get(_COMMITTED)
        if found is None:
            return None
        try:
            fields = json.loads(found)
            vectors = {name: bytes.fromhex(digest) for name, digest in fields["vectors"].items()}
            head, history, chosen = bytes.fromhex(fields["head"]), _history(fields["history"]), fields["selector"]
        except (ValueError, KeyError, TypeError) as error:
            raise WardroundError("WR-1714", "The stored history is damaged.") from error
        read = {name: self.store.read_vector(name, digest) for name, digest in vectors.items()}
        number = len(history.rounds)
        selector = Selector(self._study.selection, read.get(_kept(number)), chosen["round"], float(chosen["best"]))
        optimizer = None
        if self._study.distributed:
            optimizer = OptimizerState(number, read[_moment(1, number)], read.get(_moment(2, number)))
        model = read[_model(number)]
        return Committed(self._study, model, history=history, selector=selector, optimizer=optimizer), head

    def keep_committed(self, committed: Committed, head: bytes) -> None:
        """A round, or the last validation, is committed; the attempt in progress is over."""
        number, selector = len(committed.history.rounds), committed.selector
        kept = {_model(number): committed.model, _kept(number): selector.kept}
        if (optimizer := committed.optimizer) is not None:
            kept |= {_moment(1, number): optimizer.first, _moment(2, number): optimizer.second}
        vectors = {
            name: self.store.keep_vector(name, vector).hex() for name, vector in kept.items() if vector is not None
        }
        fields = {
            "vectors": vectors,
            "head": head.hex(),
            "history": asdict(committed.history),
            "selector": {"round": selector.round, "best": repr(selector.best)},
        }
        self.store.commit({_COMMITTED: json.dumps(fields).encode(), RECORD: None, _BOUND: None})
        self.store.forget_vectors(frozenset(vectors), _VECTOR)


def _model(number: int) -> str:
    return f"model.{number}{_VECTOR}"


def _kept(number: int) -> str:
    return f"kept.{number}{_VECTOR}"


def _moment(order: int, number: int) -> str:
    return f"moment{order}.{number}{_VECTOR}"


def _history(fields: dict[str, Any]) -> History:
    rounds = (
        RoundRecord(**{**record, "sites": tuple(record["sites"]), "failed": tuple(record["failed"])})
        for record in fields["rounds"]
    )
    validations = (
        Validation(**{**found, "mean": None if found["mean"] is None else MeanValidation(**found["mean"])})
        for found in fields["validations"]
    )
    return History(tuple(rounds), tuple(validations))
