"""Flower's Grid over its Runtime API (what a ServerApp's process speaks), without pauses."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.constant import ErrorCode
from flwr.common.serde import context_from_proto, message_to_proto, run_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    GetNodesRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from wardround.common.parallel import on_each
from wardround.server.flower.calls import SUPERLINK_NODE
from wardround.server.flower.inflation import ROOM, array_bytes, inflated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flwr.proto.message_pb2 import Message as MessageShell
    from flwr.proto.message_pb2 import PullObjectResponse
    from flwr.supercore.inflatable.inflatable_object import InflatableObject
    from flwr.supercore.run import Run

log = logging.getLogger("wardround.flower")

TTL_SECONDS: Final = 30 * 86_400.0
"""How long a message waits for its reply at most: slow sites are not cut off, silent ones are noticed by heartbeat."""

PATIENCE_SECONDS: Final = 1.0
"""How long :meth:`RuntimeGrid.pull_messages` waits for a reply before it looks for silent nodes and returns."""

PARALLEL: Final = 4
"""Objects that are pushed or pulled at a time: most of a call's time is spent waiting for its answer."""

_BEAT_SECONDS: Final = 20.0
"""Flower takes a task without a heartbeat for 60 seconds for dead."""

STALLED_SECONDS: Final = 3620.0
"""A reply that does not move for so long has broken off: the SuperLink takes no object of it after an hour."""

_NO_REPLY: Final = 1399
"""Flower error code of what this side says in place of a reply."""


@dataclass(slots=True)
class _Arriving:
    """A reply that was announced; its objects come one by one.

    Attributes:
        shell: The message without its content.
        tree: Its objects.
        moved: When the last one came, by a monotonic clock.
        silent: Its node is not heard any more.
        contents: Of the objects that came.
    """

    shell: MessageShell
    tree: ObjectTree
    moved: float
    silent: bool
    contents: dict[str, bytes] = field(default_factory=dict)


class RuntimeGrid(Grid):
    """Flower's Grid over the Runtime API, without pauses: it looks for replies when it is told that there are any.

    A reply is announced before its objects are there. One that is not whole yet is kept aside, so a site on a slow
    line holds up nobody else; and one reply is fetched for each look, so memory does not grow with the sites.

    Args:
        address: ``host:port`` of the SuperLink.
        root: Certificate that the SuperLink's is signed with, PEM.
        token: Of :meth:`Control.acquire`.
        pushed: Called with node ids once messages for them lie at the SuperLink, all objects included.
        patience: Seconds; see :data:`PATIENCE_SECONDS`.
        taken: Called with a node's id once its reply has left the SuperLink, or is given up.
    """

    def __init__(
        self,
        address: str,
        root: bytes,
        token: str,
        pushed: Callable[[Sequence[int]], None],
        patience: float = PATIENCE_SECONDS,
        *,
        taken: Callable[[int], None] = lambda _: None,
    ) -> None:
        names = RuntimeVersionHttpInterceptor(component_name="flwr-serverapp")
        ours = RuntimeTokenHttpInterceptor(token=token)
        self._client = RuntimeHttpClient.from_server_address(address, False, root, interceptors=[names, ours])
        self._pushed, self._taken, self._patience = pushed, taken, patience
        self._node = Node(node_id=SUPERLINK_NODE)
        self._asked: dict[str, Metadata] = {}
        self._sizes: dict[str, int] = {}
        self._arriving: deque[_Arriving] = deque()
        self._refused: deque[Message] = deque()
        self._told: set[int] = set()
        self._bell = threading.Condition()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(PARALLEL, "objects")

    def begin(self) -> Context:
        """Take the run up; the context that its ServerApp is called with."""
        task = self._client.PullTaskInput(PullTaskInputRequest())
        self._run = run_from_proto(task.run)
        threading.Thread(target=self._beat, name="run heartbeat", daemon=True).start()
        return context_from_proto(task.context)

    def finish(self, *, completed: bool, words: str = "") -> None:
        """Tell the SuperLink that the run is over, and close the connection."""
        self._over.set()
        state = "completed" if completed else "failed"
        try:
            self._client.PushTaskOutput(PushTaskOutputRequest(sub_status=state, details=words))
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._client.close()

    def replied(self, node: int) -> None:
        """Say, from any thread, that a reply of a node lies at the SuperLink, all objects included."""
        with self._bell:
            self._told.add(node)
            self._bell.notify()

    def set_run(self, run: Run) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Create a message from the server to a node."""
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id="",
            src_node_id=SUPERLINK_NODE,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=time.time(),
            ttl=TTL_SECONDS if ttl is None else ttl,
            message_type=message_type,
        )
        return make_message(metadata, content=content)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are heard."""
        return [node.node_id for node in self._client.GetNodes(GetNodesRequest()).nodes]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Push messages with all of their objects; what several of them share is pushed once.

        A message for a node that is not there is answered with an error.

        Raises:
            RuntimeError: The SuperLink did not store an object.
        """
        pushed = list(messages)
        if not pushed:
            return []
        with no_object_id_recompute():
            for message in pushed:
                message.metadata.__dict__["_message_id"] = message.object_id
            objects = {name: part for message in pushed for name, part in get_all_nested_objects(message).items()}
            request = PushAppMessagesRequest(
                messages_list=[message_to_proto(remove_content_from_message(message)) for message in pushed],
                message_object_trees=[get_object_tree(message) for message in pushed],
            )
            answer = self._client.PushMessages(request)
            # those above others are serialised here, where the ids below them are known, and not hashed once more
            contents = {name: _content(objects[name]) for name in answer.objects_to_push}
        self._push_all(contents, answer.session_id)
        for message, taken in zip(pushed, answer.message_ids, strict=True):
            self._asked[message.metadata.message_id] = message.metadata
            self._sizes[message.metadata.message_id] = array_bytes(message)
            if not taken:  # its node was never heard since the SuperLink began, or is registered no more
                self._refused.append(self._no_reply(message.metadata, "the site is not connected"))
        self._pushed([message.metadata.dst_node_id for message in pushed])
        return [message.metadata.message_id for message in pushed]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The next reply to one of these messages, or nothing after a pause of ``patience`` seconds."""
        wanted = set(message_ids) & self._asked.keys()
        reply = self._whole(wanted)
        if reply is None and wanted:
            self._look(wanted)
            reply = self._whole(wanted)
        return [] if reply is None else [reply]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and pull their replies until all are there or ``timeout`` seconds have passed."""
        begin = time.monotonic()
        waiting, replies = set(self.push_messages(messages)), []
        while waiting and (timeout is None or time.monotonic() - begin < timeout):
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
        return replies

    def _look(self, wanted: set[str]) -> None:
        """Wait until a node has replied and ask for its messages; after the patience ask for those of silent nodes.

        No other message is asked for: asking ends it, and a reply of which a part is still on its way would be lost.
        """
        nodes = {name: self._asked[name].dst_node_id for name in wanted}
        with self._bell:
            self._bell.wait_for(lambda: not self._told.isdisjoint(nodes.values()), timeout=self._patience)
            told = self._told.intersection(nodes.values())
            self._told -= told
        due = told or set(nodes.values()).difference(self.get_node_ids())
        announced = {each.shell.metadata.reply_to_message_id for each in self._arriving}
        ids = [name for name, node in nodes.items() if node in due and name not in announced]
        if not ids:
            return
        answer = self._client.PullMessages(PullAppMessagesRequest(message_ids=ids))
        for shell, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            self._arriving.append(_Arriving(shell, tree, time.monotonic(), silent=not told))

    def _whole(self, wanted: set[str]) -> Message | None:
        """The first announced reply to one of these messages whose objects are all there."""
        for reply in list(self._refused):
            if reply.metadata.reply_to_message_id in wanted:
                self._refused.remove(reply)
                self._forget(reply.metadata.reply_to_message_id)
                return reply
        for each in list(self._arriving):
            if each.shell.metadata.reply_to_message_id not in wanted:
                continue
            whole = self._fetched(each)
            if whole is not None:
                self._arriving.remove(each)
                self._forget(each.shell.metadata.reply_to_message_id)
                return whole
        return None

    def _forget(self, name: str) -> None:
        del self._asked[name], self._sizes[name]

    def _fetched(self, arriving: _Arriving) -> Message | None:
        parts = dict.fromkeys(part.object_id for part in iterate_object_tree(arriving.tree))
        missing = [name for name in parts if name not in arriving.contents]
        for name, answer in zip(missing, on_each(self._pool, self._pull, missing), strict=True):
            if not answer.object_found:
                return self._lost(arriving)
            if answer.object_available:
                arriving.contents[name] = answer.object_content
                arriving.moved = time.monotonic()
        if len(arriving.contents) < len(parts):
            stalled = arriving.silent or time.monotonic() - arriving.moved > STALLED_SECONDS
            return self._lost(arriving) if stalled else None
        name = arriving.tree.object_id
        received = ConfirmMessageReceivedRequest(node=self._node, run_id=self._run.run_id, message_object_id=name)
        self._client.ConfirmMessageReceived(received)
        self._taken(arriving.shell.metadata.src_node_id)
        asked = self._asked[arriving.shell.metadata.reply_to_message_id]
        reply = inflated(name, arriving.contents, self._sizes[asked.message_id] + ROOM)
        if reply is None:
            return self._no_reply(asked, "WR-1301: the reply is malformed")
        inner = reply.metadata
        if inner.src_node_id == SUPERLINK_NODE and arriving.silent and reply.has_error():
            # the SuperLink speaks in the place of a site
            silent = reply.error.code == ErrorCode.NODE_UNAVAILABLE
            return self._no_reply(asked, "the site fell silent" if silent else reply.error.reason or "")
        if (inner.reply_to_message_id, inner.src_node_id) != (asked.message_id, asked.dst_node_id):
            # the gateway has seen the envelope; what lies inside must say the same
            return self._no_reply(asked, "WR-1301: the reply is in another name inside than outside")
        inner.__dict__["_message_id"] = name
        return reply

    def _lost(self, arriving: _Arriving) -> Message:
        asked = self._asked[arriving.shell.metadata.reply_to_message_id]
        self._taken(asked.dst_node_id)
        return self._no_reply(asked, "the reply broke off on its way")

    def _no_reply(self, asked: Metadata, reason: str) -> Message:
        metadata = Metadata(
            run_id=asked.run_id,
            message_id="",
            src_node_id=asked.dst_node_id,
            dst_node_id=SUPERLINK_NODE,
            reply_to_message_id=asked.message_id,
            group_id=asked.group_id,
            created_at=time.time(),
            ttl=TTL_SECONDS,
            message_type=asked.message_type,
        )
        return make_message(metadata, error=Error(_NO_REPLY, reason))

    def _pull(self, name: str) -> PullObjectResponse:
        return self._client.PullObject(PullObjectRequest(node=self._node, run_id=self._run.run_id, object_id=name))

    def _push_all(self, contents: Mapping[str, bytes | ArrayChunk], session: str) -> None:
        on_each(self._pool, lambda name: self._push(name, contents[name], session), contents)

    def _push(self, name: str, found: bytes | ArrayChunk, session: str) -> None:
        content = found.deflate() if isinstance(found, ArrayChunk) else found
        request = PushObjectRequest(
            node=self._node, run_id=self._run.run_id, object_id=name, object_content=content, session_id=session
        )
        if not self._client.PushObject(request).stored:
            raise RuntimeError("the SuperLink did not store an object")

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            try:
                self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except Exception:  # the run's next call fails for the same reason, in its own thread
                log.warning("a heartbeat of the run failed", exc_info=not self._over.is_set())


def _content(part: InflatableObject) -> bytes | ArrayChunk:
    """What is pushed; a piece of a vector is serialised on its way, so few of them lie in memory twice."""
    return part if isinstance(part, ArrayChunk) else bytes(part.deflate())
