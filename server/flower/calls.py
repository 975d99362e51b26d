"""Flower's Fleet API as bytes: what a call says of its caller, and what its answer gives a right to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, run_pb2
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from google.protobuf.message import DecodeError

from wardround.server.flower.announcements import head_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERLINK_NODE: Final = 1
"""Flower's node id of every server."""

FLEET_CALLS: Final[Mapping[str, Any]] = {
    "SendNodeHeartbeat": heartbeat_pb2.SendNodeHeartbeatRequest,
    "DeactivateNode": fleet_pb2.DeactivateNodeRequest,
    "PullMessages": fleet_pb2.PullMessagesRequest,
    "PullObject": message_pb2.PullObjectRequest,
    "ConfirmMessageReceived": message_pb2.ConfirmMessageReceivedRequest,
    "PushMessages": fleet_pb2.PushMessagesRequest,
    "PushObject": message_pb2.PushObjectRequest,
    "GetRun": run_pb2.GetRunRequest,
}
"""Calls of the Fleet API that an agent needs. Not among them: registration, activation (a heartbeat does it), and
GetFab, because no site runs a bundle."""

FLEET_PREFIX: Final = "/flwr.proto.Fleet/"
NODE_KEY_HEADER: Final = "flwr-public-key-bin"
TIME_HEADER: Final = "flwr-timestamp"
NODE_HEADERS: Final = (NODE_KEY_HEADER, "flwr-signature-bin", TIME_HEADER)
"""Metadata by which the SuperLink knows a node."""


@dataclass(frozen=True, slots=True)
class FleetCall:
    """What a call of the Fleet API says of its caller, and what it touches.

    Attributes:
        node: Node id that it speaks for.
        object: The object that it pulls, pushes or confirms; empty: none.
        session: Of the push that an object belongs to; empty: none.
        replies: Of PushMessages, each message's source, destination and the message that it answers.
        held: Of PullMessages, messages that the node has and has not answered.
    """

    node: int
    object: str = ""
    session: str = ""
    replies: tuple[tuple[int, int, str], ...] = ()
    held: frozenset[str] = frozenset()


def read_fleet_call(name: str, body: bytes) -> FleetCall:
    """Read the request of one of :data:`FLEET_CALLS`; of PushMessages all but the tree of its objects.

    Raises:
        ValueError: It is malformed.
    """
    try:
        request = FLEET_CALLS[name].FromString(head_of(body) if name == "PushMessages" else body)
    except DecodeError as error:
        raise ValueError("malformed") from error
    node = request.node_id if name == "DeactivateNode" else request.node.node_id
    if name == "PushMessages":
        told = [message.metadata for message in request.messages_list]
        replies = tuple((each.src_node_id, each.dst_node_id, each.reply_to_message_id) for each in told)
        return FleetCall(node, replies=replies)
    if name == "PullMessages":
        return FleetCall(node, held=frozenset(request.message_ids))
    if name == "ConfirmMessageReceived":
        return FleetCall(node, object=request.message_object_id)
    return FleetCall(node, getattr(request, "object_id", ""), getattr(request, "session_id", ""))


def read_offered(answer: bytes) -> tuple[str, int, frozenset[str]] | None:
    """The message in an answer to PullMessages: its id, its run and the ids of all its objects; None: there is none."""
    response = fleet_pb2.PullMessagesResponse.FromString(answer)
    if not response.messages_list:
        return None
    tree = response.message_object_trees[0]
    parts = frozenset(part.object_id for part in iterate_object_tree(tree))
    return tree.object_id, response.messages_list[0].metadata.run_id, parts


def read_expected(answer: bytes) -> tuple[str, frozenset[str]]:
    """The session in an answer to PushMessages, and the objects that the SuperLink still wants."""
    response = fleet_pb2.PushMessagesResponse.FromString(answer)
    return response.session_id, frozenset(response.objects_to_push)


def read_stored(answer: bytes) -> bool:
    """Whether an answer to PushObject says that the object was stored."""
    return bool(message_pb2.PushObjectResponse.FromString(answer).stored)
