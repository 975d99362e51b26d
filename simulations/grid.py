"""A Flower Grid whose nodes are hospitals in this process.

Messages reach the installed ClientApp as they would over a SuperLink, one after the other: one
message is worked on for each look for replies, so replies stream to the server and memory does not
grow with the number of sites.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flwr.app import DEFAULT_TTL, Context, Error, Metadata, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.serverapp import Grid
from flwr.supercore.run import Run  # the only private module of Flower imported in this package

from wardround.client.app import HOME_KEY
from wardround.client.app import app as hospital_app
from wardround.client.fault import HospitalFault
from wardround.common.wire.kinds import check_reply
from wardround.simulations.faults import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.simulations.faults import Fault

SERVER_NODE: Final = 1

SILENT: Final = 1399
"""Flower error code of a node that a fault keeps from answering: in one process nothing can time out."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A message that a hospital has answered, or never will; for progress displays."""

    site: SiteId
    kind: str
    group: str
    seconds: float


class InProcessGrid(Grid):
    """Flower's Grid over hospitals in this process.

    Args:
        homes: Home folder of every hospital; node ids follow their order.
        observer: Called after each message that a hospital has answered.
        faults: Messages that hospitals leave unanswered.
    """

    def __init__(
        self,
        homes: Mapping[SiteId, Path],
        observer: Callable[[Handled], None] | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        self._run = Run.create_empty(1)
        self._observer = observer
        self._faults = tuple(faults)
        self._sites = {SERVER_NODE + 1 + index: site for index, site in enumerate(homes)}
        self._contexts = {
            node: Context(1, node, {HOME_KEY: str(homes[site])}, RecordDict(), {}) for node, site in self._sites.items()
        }
        self._queue: deque[FlowerMessage] = deque()

    @property
    def nodes(self) -> dict[SiteId, int]:
        """Node id of every hospital."""
        return {site: node for node, site in self._sites.items()}

    def set_run(self, run: Run) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> FlowerMessage:
        """Create a message from the server to a node."""
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id=uuid.uuid4().hex,
            src_node_id=SERVER_NODE,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=time.time(),
            ttl=DEFAULT_TTL if ttl is None else ttl,
            message_type=message_type,
        )
        # The signature is not among the documented ones; TaskIdentity, the other way, is one a process.
        return FlowerMessage(content=content, metadata=metadata)  # type: ignore[call-overload,no-any-return]

    def get_node_ids(self) -> Iterable[int]:
        """Every hospital's node id."""
        return list(self._sites)

    def push_messages(self, messages: Iterable[FlowerMessage]) -> Iterable[str]:
        """Queue messages; hospitals work on them when replies are pulled.

        Raises:
            ValueError: A message was not made by :meth:`create_message`, or names no node.
        """
        accepted = list(messages)
        for message in accepted:
            if not message.metadata.message_id or message.metadata.dst_node_id not in self._contexts:
                raise ValueError("messages are made by create_message, for a node of this grid")
        self._queue.extend(accepted)
        return [message.metadata.message_id for message in accepted]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[FlowerMessage]:
        """Let one hospital work on the oldest of these messages; its reply, or nothing."""
        wanted = set(message_ids)
        for index, message in enumerate(self._queue):
            if message.metadata.message_id in wanted:
                del self._queue[index]
                return [self._answer(message)]
        return []

    def send_and_receive(
        self, messages: Iterable[FlowerMessage], *, timeout: float | None = None
    ) -> Iterable[FlowerMessage]:
        """Push messages and pull every reply; in one process there is nothing to wait for."""
        begin = time.monotonic()
        waiting = set(self.push_messages(messages))
        replies: list[FlowerMessage] = []
        while waiting and (timeout is None or time.monotonic() - begin < timeout):
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
        return replies

    def _answer(self, message: FlowerMessage) -> FlowerMessage:
        begin = time.perf_counter()
        node = message.metadata.dst_node_id
        site, kind, group = self._sites[node], message.metadata.message_type, message.metadata.group_id
        if any(fault.covers(site, kind, group) for fault in self._faults):
            reply = FlowerMessage(Error(SILENT, NO_ANSWER), reply_to=message)
        else:
            try:
                reply = hospital_app(message, self._contexts[node])
                if reply.has_content():
                    check_reply(kind, reply.content)
            except HospitalFault as fault:  # on one machine its user may see what happened
                raise fault.__cause__ or fault from None
        if self._observer is not None:
            self._observer(Handled(site, kind, group, time.perf_counter() - begin))
        return reply
