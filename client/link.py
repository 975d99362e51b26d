"""Flower's private modules at the hospital, and with them the agent's side of Flower's Fleet API through the gateway.

A message is confirmed when its reply lies at the coordinator, not before. So an agent that was killed in between is
given the message again when it comes back; and a reply gets the times of its message, so an equal reply has an equal
id, and one that broke off on its way is completed. Clocks of hospitals do not matter.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from flwr.app import Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.serde import message_to_proto
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from wardround.client.channel import refusals
from wardround.common.errors import WardroundError
from wardround.common.parallel import on_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from flwr.proto.message_pb2 import ObjectTree
    from flwr.supercore.inflatable.inflatable_object import InflatableObject
    from google.protobuf.message import Message as Proto

    from wardround.client.federation import Connection

HEARTBEAT_SECONDS: Final = 10.0
"""The shortest interval that Flower takes; a node that is silent for twice as long is given up."""

_log = logging.getLogger("wardround.agent")

_SIGNED_SECONDS: Final = 60.0
"""Flower signs the time alone, and takes it for five minutes: one signature serves many calls."""

_CALL_SECONDS: Final = 30.0
_TRANSFER_SECONDS: Final = 900.0
_LATE_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.02
_PARALLEL: Final = 4
_OVER: Final = "WR-1923"

T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    """A message that was offered, until it is confirmed; its shell says all of it but the content."""

    shell: Message
    run: int
    tree: ObjectTree
    created_at: float
    ttl: float
    contents: dict[str, bytes] = field(default_factory=dict)
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the SuperLink says of a run.

    Attributes:
        id: Flower's.
        bundle: SHA-256 of its app bundle, hex.
    """

    id: int
    bundle: str


def public_key(key: EllipticCurvePublicKey) -> bytes:
    """A node's public key as Flower writes it (PEM)."""
    return bytes(public_key_to_bytes(key))


class Link:
    """The Fleet calls of one node. Heartbeats may come from another thread than the rest.

    Args:
        connection: To the gateway; its credentials name the site.
        key: Of the node, ECDSA P-384.
        node: Its id, from the gateway's welcome.
        interval: Between heartbeats, seconds; at least :data:`HEARTBEAT_SECONDS`.
    """

    def __init__(
        self, connection: Connection, key: EllipticCurvePrivateKey, node: int, interval: float = HEARTBEAT_SECONDS
    ) -> None:
        self._key, self._public, self._interval = key, public_key(key.public_key()), interval
        self._node = Node(node_id=node)
        self._signed: tuple[float, tuple[tuple[str, str | bytes], ...]] = (0.0, ())
        self._signing = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._pool = ThreadPoolExecutor(_PARALLEL, "link")
        self.use(connection)

    def use(self, connection: Connection) -> None:
        """Go on over another connection, one with a renewed certificate."""
        self._connection = connection
        self._fleet = FleetStub(connection.channel)

    def heartbeat(self) -> bool:
        """Say that the node lives; the first one brings it online. False: the SuperLink does not know it."""
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=self._interval)
        return bool(self._call("SendNodeHeartbeat", request).success)

    def receive(self) -> Message | None:
        """The next message, or None. One that broke off on its way is gone on with, over another connection too.

        Raises:
            WardroundError: As :class:`wardround.client.federation.Connection` says; the message is not lost.
        """
        while True:
            waiting = next((name for name, held in self._held.items() if not held.handed_over), None)
            if waiting is None:
                waiting = self._offered()
            if waiting is None:
                return None
            message = self._fetched(waiting)
            if message is not None:
                return message

    def send(self, reply: Message) -> int:
        """Send a reply, then confirm its message.

        Returns:
            How many bytes of objects left.

        Raises:
            ValueError: It answers no message that this link has received.
            WardroundError: As :class:`wardround.client.federation.Connection` says; the same reply may be sent again.
                WR-1923: the run is over, nobody wants the reply.
        """
        name = reply.metadata.reply_to_message_id
        held = self._held.get(name)
        if held is None:
            raise ValueError("the reply answers no message of this link")
        try:
            sent = self._pushed(reply, held)
            self._confirm(name)
        except WardroundError as error:
            if error.code == _OVER:
                self._held.pop(name, None)
            raise
        return sent

    def run(self, run: int) -> RunFacts:
        """What the SuperLink says of a run."""
        found = self._call("GetRun", GetRunRequest(node=self._node, run_id=run)).run
        return RunFacts(int(found.run_id), str(found.fab_hash))

    def close(self) -> None:
        """Say that the node goes, if that can be said; the connection stays."""
        try:
            self._call("DeactivateNode", DeactivateNodeRequest(node_id=self._node.node_id), seconds=3.0)
        except WardroundError:  # then it will be missed after two intervals
            return
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _offered(self) -> str | None:
        request = PullMessagesRequest(node=self._node, message_ids=list(self._held))
        answer = self._call("PullMessages", request)
        if not answer.messages_list:
            return None
        metadata, tree = answer.messages_list[0].metadata, answer.message_object_trees[0]
        name = str(tree.object_id)
        if name in self._held:
            return None
        shell = make_message(metadata_from_proto(metadata), content=RecordDict())
        self._held[name] = _Held(shell, metadata.run_id, tree, metadata.created_at, metadata.ttl)
        return name

    def _fetched(self, name: str) -> Message | None:
        """The message with all of its objects; None: its run is over, or it is gone."""
        held = self._held[name]
        parts = dict.fromkeys(part.object_id for part in iterate_object_tree(held.tree))
        try:
            self._each(partial(self._pull, held), [part for part in parts if part not in held.contents])
        except WardroundError as error:
            if error.code != _OVER:
                raise
            del self._held[name]
            return None
        if len(held.contents) < len(parts):
            self._confirm(name)
            return None
        message = _inflated(name, held.contents) or held.shell  # an empty one is refused, and so it is answered
        message.metadata.__dict__["_message_id"] = name
        held.contents, held.handed_over = {}, True
        return message

    def _pull(self, held: _Held, part: str) -> None:
        """Keep one object; one that does not exist any more is left out."""
        request = PullObjectRequest(node=self._node, run_id=held.run, object_id=part)
        end, pause = time.monotonic() + _LATE_SECONDS, _PAUSE_SECONDS
        while True:
            answer = self._call("PullObject", request, seconds=_TRANSFER_SECONDS)
            if answer.object_available:
                held.contents[part] = answer.object_content
            if answer.object_available or not answer.object_found or time.monotonic() > end:
                return
            time.sleep(pause)  # announced, and still on its way to the coordinator's SuperLink
            pause = min(2 * pause, 1.0)

    def _pushed(self, reply: Message, held: _Held) -> int:
        metadata = reply.metadata.__dict__
        metadata["_created_at"], metadata["_ttl"] = held.created_at, held.ttl
        with no_object_id_recompute():
            metadata["_message_id"] = reply.object_id
            objects, tree = get_all_nested_objects(reply), get_object_tree(reply)
            shell = message_to_proto(remove_content_from_message(reply))
            request = PushMessagesRequest(node=self._node, messages_list=[shell], message_object_trees=[tree])
            answer = self._call("PushMessages", request, seconds=_TRANSFER_SECONDS)  # it may have to wait for its turn
            # those above others are serialised here, where the ids below them are known, and not hashed once more
            contents = {part: _content(objects[part]) for part in answer.objects_to_push}
        return sum(self._each(partial(self._push, held, answer.session_id, contents), contents))

    def _push(self, held: _Held, session: str, contents: Mapping[str, bytes | ArrayChunk], part: str) -> int:
        found = contents[part]
        content = found.deflate() if isinstance(found, ArrayChunk) else found
        request = PushObjectRequest(
            node=self._node, run_id=held.run, object_id=part, object_content=content, session_id=session
        )
        if not self._call("PushObject", request, seconds=_TRANSFER_SECONDS).stored:
            raise WardroundError("WR-1901", "The coordinator waited too long for a part of the reply.")
        return len(content)

    def _confirm(self, name: str) -> None:
        held = self._held[name]
        request = ConfirmMessageReceivedRequest(node=self._node, run_id=held.run, message_object_id=name)
        self._call("ConfirmMessageReceived", request)
        self._held.pop(name, None)

    def _each(self, work: Callable[[str], T], parts: Iterable[str]) -> list[T]:
        return on_each(self._pool, work, parts)

    def _call(self, name: str, request: Proto, seconds: float = _CALL_SECONDS) -> Proto:
        with refusals(self._connection.way):
            return getattr(self._fleet, name)(request, metadata=self._headers(), timeout=seconds)

    def _headers(self) -> tuple[tuple[str, str | bytes], ...]:
        with self._signing:
            if not self._signed[1] or time.monotonic() - self._signed[0] > _SIGNED_SECONDS:
                stamp = datetime.fromtimestamp(self._connection.clock(), UTC).isoformat()
                signature = sign_message(self._key, stamp.encode("ascii"))
                headers = (
                    ("flwr-public-key-bin", self._public),
                    ("flwr-timestamp", stamp),
                    ("flwr-signature-bin", signature),
                )
                self._signed = (time.monotonic(), headers)
            return self._signed[1]


def _content(part: InflatableObject) -> bytes | ArrayChunk:
    """What is sent; a piece of a vector is serialised on its way, so few of them lie in memory twice."""
    return part if isinstance(part, ArrayChunk) else bytes(part.deflate())


def _inflated(name: str, contents: Mapping[str, bytes]) -> Message | None:
    """The message that objects make; None: they make none, whatever the coordinator has put into them."""
    try:
        found = inflate_object_from_contents(name, dict(contents))
    except Exception as error:  # noqa: BLE001 - the coordinator's bytes meet Flower's parser
        _log.error("A message cannot be put together (%s).", type(error).__name__)
        return None
    return found if isinstance(found, Message) else None
