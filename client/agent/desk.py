"""One message from the coordinator: looked at, answered by the worker, and let out by the egress gate.

Whatever happens, an answer comes of it: a reply, or a refusal with its code. Nothing of the Flower message reaches the
worker but fields and vector, and nothing of the worker's answer reaches Flower but what the gate has built anew.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from wardround.client.agent.frames import Question, VectorForm
from wardround.client.agent.news import LOST
from wardround.client.agent.warm import WorkerEndedError
from wardround.client.egress import Gate, may_say
from wardround.client.fault import LOG as FAULTS
from wardround.client.fault import write_fault
from wardround.client.identity import accepted_authority
from wardround.client.proposals import find_proposal, newest_decision
from wardround.common.errors import REGISTRY, WardroundError
from wardround.common.ids import SiteId
from wardround.common.privacy.witness import SignedHead, fresh_heads
from wardround.common.release import BUNDLES
from wardround.common.wire.base import REFUSED, RunContext
from wardround.common.wire.kinds import KINDS, checked_question, known_kind
from wardround.common.wire.records import FIELDS, VECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.client.agent.warm import Worker
    from wardround.client.egress import Released
    from wardround.client.federation import Connection
    from wardround.client.home import Home
    from wardround.common.ids import StudyId, StudyRunId
    from wardround.common.vector import Layout
    from wardround.common.wire.base import WireMessage

COORDINATOR: Final = SiteId("coordinator")
"""Who the coordinator is as a witness."""

OVER: Final = "WR-1923"
"""The run is over: nobody waits for an answer."""

_UNKNOWN: Final = "unknown"
_log = logging.getLogger("wardround.agent")


@dataclass(frozen=True, slots=True)
class Work:
    """What is worked on, for people and for the report to the coordinator.

    Attributes:
        kind: Of the message.
        run: The study run; None: it belongs to none.
    """

    kind: str
    run: StudyRunId | None = None


class Desk:
    """Answers messages.

    Args:
        home: The hospital's home.
        worker: Its worker.
    """

    def __init__(self, home: Home, worker: Worker) -> None:
        self._home = home
        self._worker = worker
        self._layouts: dict[StudyId, Layout] = {}
        self._bundles: dict[int, str] = {}
        self.gate = Gate(home, self._layout)

    def answer(
        self,
        message: Message,
        connection: Connection,
        bundle: Callable[[int], str],
        begins: Callable[[Work], None] = lambda _: None,
    ) -> Message:
        """The answer to a message; what it says is written down already.

        Args:
            message: From the coordinator.
            connection: For the witness of the privacy ledger.
            bundle: Gives the SHA-256 of the app bundle of a Flower run.
            begins: Told what is worked on.

        Raises:
            WardroundError: WR-1506, not even a refusal can be written down, so nothing may leave; one of :data:`LOST`,
                the connection was lost; WR-1923, the run is over. The message is not answered then.
        """
        try:
            question, vector = read_message(message)
        except WardroundError as error:
            return self.refuse(message, error)
        begins(Work(question.kind, _run(question)))
        try:
            self._check_decided(checked_question(question.kind, question.fields))
            self._check_bundle(question.run, bundle)
            return _flower(self._released(question, vector, connection), message)
        except WardroundError as error:
            if error.code in LOST or error.code == OVER:
                raise
            return self.refuse(message, error)
        except WorkerEndedError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug or a full disk: what it was stays here, and it is said
            write_fault(str(self._home.path), error)
            return self.refuse(message, WardroundError("WR-1925", f"{FAULTS} in the home folder says why."))

    def refuse(self, message: Message, error: WardroundError) -> Message:
        """A refusal as the answer to a message.

        Raises:
            WardroundError: WR-1506, it cannot be written down.
        """
        kind = message.metadata.message_type if message.metadata.message_type in KINDS else _UNKNOWN
        self._note(kind, error)
        return _flower(self.gate.refusal(Question(kind, 0, {}), error), message)

    def _note(self, kind: str, error: WardroundError) -> None:
        """Log what the coordinator is told; the whole sentence may name places of data and stays in the home folder."""
        write_fault(str(self._home.path), error)
        _log.error("%s is refused: %s (more in %s)", kind, may_say(f"{error.code}: {error.what}"), FAULTS)

    def _released(self, question: Question, vector: bytes, connection: Connection) -> Released:
        heads = self._heads(connection) if self._may_spend(question) else None
        reply, body = self._worker.ask(replace(question, heads=heads), vector)
        if reply.head is not None:
            self._give(reply.head, connection)
        if reply.reason is not None:
            raise refusal(reply.reason)
        return self.gate.reply(question, reply, body)

    def _may_spend(self, question: Question) -> bool:
        return known_kind(question.kind).carries is not None and self._home.policy.require_witness

    def _heads(self, connection: Connection) -> list[dict[str, Any] | None]:
        """What the coordinator knows of this site's privacy ledger, asked just now."""
        nonce = os.urandom(32).hex()
        answer = connection.witness(None, nonce)
        keys = {COORDINATOR: bytes.fromhex(accepted_authority(self._home))}
        heads = fresh_heads([answer], site=self._home.site, nonce=nonce, keys=keys)
        return [None if head is None else head.model_dump(mode="json") for head in heads]

    def _give(self, head: dict[str, Any], connection: Connection) -> None:
        """Let the coordinator keep where the ledger stands, before what was paid for leaves.

        Raises:
            WardroundError: The coordinator does not take it, and policy insists on a witness.
        """
        try:
            connection.witness(SignedHead.model_validate(head), os.urandom(32).hex())
        except WardroundError as error:
            if self._home.policy.require_witness or error.code in LOST:
                raise
            _log.warning("The coordinator did not keep the head of the privacy ledger: %s", error)

    def _layout(self, study: StudyId) -> Layout:
        if study not in self._layouts:
            self._layouts[study] = self._worker.layout(study)
        return self._layouts[study]

    def _check_decided(self, asked: WireMessage) -> None:
        """Refuse a study that people here did not approve for the consortium whose roster they accepted.

        Raises:
            WardroundError: WR-1702, no roster was accepted; WR-1304, the study was not proposed by that consortium's
                authority, was withdrawn, or is not approved now.
        """
        if not isinstance(asked, RunContext):
            return
        authority = accepted_authority(self._home)
        decision = newest_decision(self._home, asked.study)
        if decision is None or (decision.verdict, decision.authority) != ("approved", authority):
            raise WardroundError("WR-1304", f"Study {asked.study[:19]}… is not approved at {self._home.site}.")
        try:
            proposal = find_proposal(self._home, asked.study)
        except WardroundError as error:
            what = f"Study {asked.study[:19]}… was not proposed to {self._home.site} by its consortium."
            raise WardroundError("WR-1304", what) from error
        if proposal.withdrawn:
            raise WardroundError("WR-1304", f"Study {asked.study[:19]}… was withdrawn by its consortium.")

    def _check_bundle(self, run: int, bundle: Callable[[int], str]) -> None:
        if run not in self._bundles:
            self._bundles[run] = bundle(run)
        if self._bundles[run] not in BUNDLES:
            raise WardroundError("WR-1912", "The run was started with another app bundle than the release's.")


def read_message(message: Message) -> tuple[Question, bytes]:
    """A message's fields and the bytes of its vector; nothing else may be in it.

    Raises:
        WardroundError: WR-1301.
    """
    kind = message.metadata.message_type
    known_kind(kind)
    if not message.has_content():
        raise WardroundError("WR-1301", "A message without content arrived.")
    content = message.content
    fields, arrays = content.get(FIELDS), content.get(VECTOR)
    if not content.keys() <= {FIELDS, VECTOR} or not isinstance(fields, ConfigRecord):
        raise WardroundError("WR-1301", "A message with other than fields and a vector arrived.")
    run = message.metadata.run_id
    if arrays is None:
        return Question(kind, run, dict(fields)), b""
    if not isinstance(arrays, ArrayRecord) or arrays.keys() != {VECTOR}:
        raise WardroundError("WR-1301", "A message with more than one vector arrived.")
    array = arrays[VECTOR]
    return Question(kind, run, dict(fields), VectorForm(array.dtype, tuple(array.shape), array.stype)), array.data


def refusal(reason: str) -> WardroundError:
    """The refusal that a worker's reason stands for; what is none counts as WR-1925."""
    code, _, what = reason.partition(": ")
    return WardroundError(code, what) if code in REGISTRY else WardroundError("WR-1925", "The worker gave no code.")


def _flower(released: Released, question: Message) -> Message:
    if released.fields is None:
        return Message(Error(REFUSED, released.reason or ""), reply_to=question)
    content = RecordDict({FIELDS: ConfigRecord(dict(released.fields))})
    if (form := released.vector) is not None:
        content[VECTOR] = ArrayRecord({VECTOR: Array(form.dtype, form.shape, form.stype, bytes(released.body))})
    return Message(content, reply_to=question)


def _run(question: Question) -> StudyRunId | None:
    """The study run that a message names; a malformed one is refused later, and is no name here."""
    try:
        asked = checked_question(question.kind, question.fields)
    except WardroundError:
        return None
    return asked.run if isinstance(asked, RunContext) else None
