"""Fleet calls: what a member cannot do in another's name, and what is open to nobody, each with its control."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.callers import Case, Shown, call, check, signed_headers, without
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree

from wardround.client.membership import node_key, site_credentials
from wardround.common.wire import federation as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes.callers import Headers
    from fakes.federated import Federated

    from wardround.server.flower import RuntimeGrid

FLEET = "/flwr.proto.Fleet/"
NOT_ALLOWED = "PERMISSION_DENIED WR-1909"
NO_SUCH_CALL = "UNIMPLEMENTED WR-1909"
MALFORMED = "INVALID_ARGUMENT WR-1902"
TOO_MUCH = "RESOURCE_EXHAUSTED WR-1910"


@dataclass
class Agent:
    """A member that writes its Fleet calls by hand."""

    stand: Federated
    site: str
    held: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        home = self.stand.join(self.site)
        key, certificate, trusted = site_credentials(home)
        self.shown, self.trusted, self.key = Shown(key, certificate), trusted, node_key(home)
        self.node = self.stand.gateway.nodes()[self.site]
        self.heartbeat()

    @property
    def headers(self) -> Headers:
        return signed_headers(self.key)

    def raw(self, method: str, body: bytes, headers: Headers | None = None) -> bytes:
        given = self.headers if headers is None else headers
        return call(self.stand.address, self.trusted, self.shown, method, body, headers=given)

    def heartbeat(self, node: int | None = None, headers: Headers | None = None) -> bytes:
        request = SendNodeHeartbeatRequest(node=self.at(node), heartbeat_interval=10)
        return self.raw(FLEET + "SendNodeHeartbeat", request.SerializeToString(), headers)

    def at(self, node: int | None) -> Node:
        return Node(node_id=self.node if node is None else node)

    def pull(self, node: int | None = None) -> PullMessagesResponse:
        request = PullMessagesRequest(node=self.at(node), message_ids=self.held)
        answer = PullMessagesResponse.FromString(self.raw(FLEET + "PullMessages", request.SerializeToString()))
        self.held += [tree.object_id for tree in answer.message_object_trees]
        return answer

    def pull_object(self, name: str, run: int) -> bytes:
        request = PullObjectRequest(node=self.at(None), run_id=run, object_id=name)
        return self.raw(FLEET + "PullObject", request.SerializeToString())

    def confirm(self, name: str, run: int) -> bytes:
        request = ConfirmMessageReceivedRequest(node=self.at(None), run_id=run, message_object_id=name)
        return self.raw(FLEET + "ConfirmMessageReceived", request.SerializeToString())

    def push(self, *replies: Message, node: int | None = None) -> PushMessagesResponse:
        shells = [message_to_proto(remove_content_from_message(reply)) for reply in replies]
        trees = [get_object_tree(reply) for reply in replies]
        request = PushMessagesRequest(node=self.at(node), messages_list=shells, message_object_trees=trees)
        answer = PushMessagesResponse.FromString(self.raw(FLEET + "PushMessages", request.SerializeToString()))
        assert answer.objects_to_push  # the SuperLink has taken it
        return answer

    def push_object(self, name: str, content: bytes, run: int, session: str) -> bytes:
        request = PushObjectRequest(
            node=self.at(None), run_id=run, object_id=name, object_content=content, session_id=session
        )
        return self.raw(FLEET + "PushObject", request.SerializeToString())


@dataclass
class Scene:
    """Two members, each with a message that it has been given."""

    stand: Federated
    grid: RuntimeGrid
    north: Agent
    south: Agent

    def given(self, agent: Agent) -> PullMessagesResponse:
        """A new message, handed out to a member."""
        content = RecordDict({"c": ConfigRecord({"at": time.time_ns()})})
        self.grid.push_messages([self.grid.create_message(content, "train", agent.node, "1")])
        return agent.pull()

    def reply(self, agent: Agent, given: PullMessagesResponse, **changed: object) -> Message:
        """An answer to it, with some of its metadata changed."""
        metadata = given.messages_list[0].metadata
        asked = self.grid.create_message(RecordDict(), "train", agent.node, "1")
        asked.metadata.__dict__ |= {"_message_id": metadata.message_id, "_created_at": metadata.created_at}
        reply = Message(RecordDict({"c": ConfigRecord({"at": time.time_ns()})}), reply_to=asked)
        reply.metadata.__dict__.update({f"_{name}": value for name, value in changed.items()})
        reply.metadata.__dict__["_message_id"] = reply.object_id
        return reply

    @property
    def run(self) -> int:
        return self.grid.run.run_id


@pytest.fixture(scope="module")
def scene(stand: Federated) -> Iterator[Scene]:
    grid = stand.grid()
    yield Scene(stand, grid, Agent(stand, "north"), Agent(stand, "south"))
    grid.finish(completed=True)


def node_of_another_site(scene: Scene) -> Case:
    north, south = scene.north, scene.south
    return Case("another site's node id", partial(north.heartbeat, south.node), NOT_ALLOWED, north.heartbeat)


def node_of_another_site_signed_by_it(scene: Scene) -> Case:
    north, south = scene.north, scene.south
    attempt = partial(north.heartbeat, south.node, south.headers)
    return Case("another site's node id and key", attempt, NOT_ALLOWED, south.heartbeat)


def replayed_headers(scene: Scene) -> Case:
    north, south = scene.north, scene.south
    attempt = partial(north.heartbeat, None, south.headers)
    return Case("another site's headers, replayed", attempt, NOT_ALLOWED, partial(south.heartbeat, None, south.headers))


def unknown_node_key(scene: Scene) -> Case:
    headers = signed_headers(ec.generate_private_key(ec.SECP384R1()))
    return Case(
        "a node key nobody registered",
        partial(scene.north.heartbeat, None, headers),
        NOT_ALLOWED,
        scene.north.heartbeat,
    )


def no_headers(scene: Scene) -> Case:
    return Case("no node key", partial(scene.north.heartbeat, None, ()), NOT_ALLOWED, scene.north.heartbeat)


def no_signature(scene: Scene) -> Case:
    headers = without(scene.north.headers, "flwr-signature-bin")
    return Case("no signature", partial(scene.north.heartbeat, None, headers), NOT_ALLOWED, scene.north.heartbeat)


def forged_signature(scene: Scene) -> Case:
    forged = dict(scene.south.headers)["flwr-signature-bin"]
    headers = without(scene.north.headers, "flwr-signature-bin", forged)
    return Case(
        "another key's signature", partial(scene.north.heartbeat, None, headers), NOT_ALLOWED, scene.north.heartbeat
    )


def old_headers(scene: Scene) -> Case:
    headers = signed_headers(scene.north.key, at=time.time() - 3600)
    return Case(
        "own headers of an hour ago", partial(scene.north.heartbeat, None, headers), NOT_ALLOWED, scene.north.heartbeat
    )


def senseless_time(scene: Scene) -> Case:
    headers = signed_headers(scene.north.key, stamp="yesterday")
    return Case(
        "a time that is none", partial(scene.north.heartbeat, None, headers), NOT_ALLOWED, scene.north.heartbeat
    )


def time_without_zone(scene: Scene) -> Case:
    headers = signed_headers(scene.north.key, stamp="2026-01-01T00:00:00")
    return Case(
        "a time without a zone", partial(scene.north.heartbeat, None, headers), NOT_ALLOWED, scene.north.heartbeat
    )


def messages_of_another_site(scene: Scene) -> Case:
    north, south = scene.north, scene.south
    return Case("messages for another site", partial(north.pull, south.node), NOT_ALLOWED, north.pull)


def deactivate_another_site(scene: Scene) -> Case:
    north, south = scene.north, scene.south
    attempt = DeactivateNodeRequest(node_id=south.node).SerializeToString()
    control = DeactivateNodeRequest(node_id=north.node).SerializeToString()

    def goes_and_comes_back() -> None:
        north.raw(FLEET + "DeactivateNode", control)
        north.heartbeat()

    method = FLEET + "DeactivateNode"
    return Case("another site's node off", partial(north.raw, method, attempt), NOT_ALLOWED, goes_and_comes_back)


def object_of_another_site(scene: Scene) -> Case:
    name = scene.given(scene.south).message_object_trees[0].object_id
    attempt, control = (partial(agent.pull_object, name, scene.run) for agent in (scene.north, scene.south))
    return Case("an object of another site's message", attempt, NOT_ALLOWED, control)


def object_of_nobody(scene: Scene) -> Case:
    name = scene.given(scene.north).message_object_trees[0].object_id
    attempt = partial(scene.north.pull_object, "0" * 64, scene.run)
    return Case("an object of no message", attempt, NOT_ALLOWED, partial(scene.north.pull_object, name, scene.run))


def confirmed_for_another_site(scene: Scene) -> Case:
    name = scene.given(scene.south).message_object_trees[0].object_id
    attempt, control = (partial(agent.confirm, name, scene.run) for agent in (scene.north, scene.south))
    return Case("another site's message confirmed, which deletes it", attempt, NOT_ALLOWED, control)


def answer_for_another_site(scene: Scene) -> Case:
    given = scene.given(scene.south)
    reply = scene.reply(scene.south, given)
    attempt, control = partial(scene.north.push, reply), partial(scene.south.push, reply)
    return Case("another site's answer", attempt, NOT_ALLOWED, control)


def answer_to_another_sites_message(scene: Scene) -> Case:
    reply = scene.reply(scene.north, scene.given(scene.south))
    control = scene.reply(scene.north, scene.given(scene.north))
    attempt = partial(scene.north.push, reply)
    return Case("an answer to another site's message", attempt, NOT_ALLOWED, partial(scene.north.push, control))


def message_of_the_coordinator(scene: Scene) -> Case:
    """The SuperLink would take it and hand it out to the other hospital as the coordinator's own."""
    given = scene.given(scene.north)
    forged = scene.reply(scene.north, given, src_node_id=1, dst_node_id=scene.south.node, reply_to_message_id="")
    control = partial(scene.north.push, scene.reply(scene.north, given))
    return Case(
        "a message to another hospital as the coordinator", partial(scene.north.push, forged), NOT_ALLOWED, control
    )


def message_to_another_site(scene: Scene) -> Case:
    given = scene.given(scene.north)
    forged = scene.reply(scene.north, given, dst_node_id=scene.south.node)
    control = partial(scene.north.push, scene.reply(scene.north, given))
    return Case("an answer sent to another hospital", partial(scene.north.push, forged), NOT_ALLOWED, control)


def answer_to_nothing(scene: Scene) -> Case:
    given = scene.given(scene.north)
    forged = scene.reply(scene.north, given, reply_to_message_id="")
    control = partial(scene.north.push, scene.reply(scene.north, given))
    return Case("an answer to nothing", partial(scene.north.push, forged), NOT_ALLOWED, control)


def two_messages(scene: Scene) -> Case:
    reply = scene.reply(scene.north, scene.given(scene.north))
    second = scene.reply(scene.north, scene.given(scene.north), src_node_id=scene.south.node)
    attempt = partial(scene.north.push, reply, second)
    return Case("a second message behind the first", attempt, MALFORMED, partial(scene.north.push, reply))


def no_message(scene: Scene) -> Case:
    reply = scene.reply(scene.north, scene.given(scene.north))
    return Case("a push without a message", scene.north.push, MALFORMED, partial(scene.north.push, reply))


def object_that_nobody_expects(scene: Scene) -> Case:
    north = scene.north
    session = north.push(scene.reply(north, scene.given(north))).session_id
    attempt = partial(north.push_object, "0" * 64, b"", scene.run, session)

    def whole_reply() -> None:
        again = scene.reply(north, scene.given(north))
        answer = north.push(again)
        parts = get_all_nested_objects(again)
        for part in answer.objects_to_push:
            north.push_object(part, parts[part].deflate(), scene.run, answer.session_id)

    return Case("an object that was not announced", attempt, NOT_ALLOWED, whole_reply)


def object_of_another_sites_answer(scene: Scene) -> Case:
    south = scene.south
    reply = scene.reply(south, scene.given(south))
    answer = south.push(reply)
    parts = get_all_nested_objects(reply)
    first, *rest = answer.objects_to_push
    attempt = partial(scene.north.push_object, rest[0], parts[rest[0]].deflate(), scene.run, answer.session_id)
    unsent = iter(rest[1:])  # the control is called twice

    def own() -> None:
        part = next(unsent, first)
        stored = south.push_object(part, parts[part].deflate(), scene.run, answer.session_id)
        assert PushObjectResponse.FromString(stored).stored

    return Case("an object into another site's answer", attempt, NOT_ALLOWED, own)


def malformed(scene: Scene) -> Case:
    attempt = partial(scene.north.raw, FLEET + "PullMessages", b"\xff\xff\xff")
    return Case("bytes that are no message", attempt, MALFORMED, scene.north.pull)


def unsigned_json(scene: Scene) -> Case:
    good = wire.Greet(release="0.1.0", protocols=(1,), roster=0).canonical()
    attempt = partial(scene.north.raw, wire.GREET, good.replace(b'"roster":0', b'"roster": 0'))
    return Case("JSON that is not canonical", attempt, MALFORMED, partial(scene.north.raw, wire.GREET, good))


def unknown_field(scene: Scene) -> Case:
    good = wire.Greet(release="0.1.0", protocols=(1,), roster=0).canonical()
    attempt = partial(scene.north.raw, wire.GREET, good.replace(b'"roster":0', b'"roster":0,"site":"south"'))
    return Case("a field too many", attempt, MALFORMED, partial(scene.north.raw, wire.GREET, good))


def large_small_call(scene: Scene) -> Case:
    request = PullMessagesRequest(node=scene.north.at(None), message_ids=["0" * 64] * 2000).SerializeToString()
    return Case(
        "a small call of 130 kB", partial(scene.north.raw, FLEET + "PullMessages", request), TOO_MUCH, scene.north.pull
    )


def announced(scene: Scene, objects: int) -> Callable[[], object]:
    """The announcement of a reply with so many objects, all new."""
    reply = scene.reply(scene.north, scene.given(scene.north))
    shell, tree = message_to_proto(remove_content_from_message(reply)), get_object_tree(reply)
    own = len(list(iterate_object_tree(tree)))
    tree.children.extend(ObjectTree(object_id=f"{number:064x}") for number in range(objects - own))
    request = PushMessagesRequest(node=scene.north.at(None), messages_list=[shell], message_object_trees=[tree])
    return partial(scene.north.raw, FLEET + "PushMessages", request.SerializeToString())


def many_objects(scene: Scene) -> Case:
    return Case("65,537 objects", announced(scene, 65_537), TOO_MUCH, announced(scene, 60_000))


def tree_of_another_node(scene: Scene) -> Case:
    request = PushMessagesRequest(node=scene.north.at(scene.south.node)).SerializeToString()
    attempt = partial(scene.north.raw, FLEET + "PushMessages", request + b"\x1a\x02\xff\xff")  # it cannot be read
    return Case("the node is looked at before the tree", attempt, NOT_ALLOWED, announced(scene, 99))


def large_announcement(scene: Scene) -> Case:
    request = PushMessagesRequest(node=scene.north.at(scene.south.node)).SerializeToString()
    attempt, control = (request + ObjectTree(object_id="a" * size).SerializeToString() for size in (6 << 20, 4 << 20))
    method = FLEET + "PushMessages"
    return Case("6 MiB", partial(scene.north.raw, method, attempt), TOO_MUCH, partial(_malformed, scene, control))


def _malformed(scene: Scene, body: bytes) -> None:
    with pytest.raises(grpc.RpcError, match="WR-1902"):
        scene.north.raw(FLEET + "PushMessages", body)


def large_document(scene: Scene) -> Case:
    attempt = partial(scene.north.raw, wire.GREET, b" " * ((4 << 20) + 1))
    good = wire.Greet(release="0.1.0", protocols=(1,), roster=0).canonical()
    return Case("a document above its cap", attempt, TOO_MUCH, partial(scene.north.raw, wire.GREET, good))


def closed(method: str) -> Callable[[Scene], Case]:
    def case(scene: Scene) -> Case:
        return Case(method, partial(scene.north.raw, method, b""), NO_SUCH_CALL, scene.north.heartbeat)

    case.__name__ = method
    return case


CLOSED = (
    "/flwr.proto.Control/ListNodes",
    "/flwr.proto.Control/StartRun",
    "/flwr.proto.Control/StopRun",
    "/flwr.proto.Control/ListRuns",
    "/flwr.proto.Control/RegisterNode",
    "/flwr.proto.Control/UnregisterNode",
    "/flwr.proto.Runtime/AcquireTask",
    "/flwr.proto.Runtime/PullMessages",
    "/flwr.proto.Runtime/PushMessages",
    "/flwr.proto.Runtime/PullTaskInput",
    "/flwr.proto.Fleet/RegisterNode",
    "/flwr.proto.Fleet/UnregisterNode",
    "/flwr.proto.Fleet/ActivateNode",
    "/flwr.proto.Fleet/GetFab",
    "/flwr.proto.Fleet/",
    "/flwr.proto.Fleet/../Control/ListNodes",
    "/flwr.proto.fleet/SendNodeHeartbeat",
    "/flwr.proto.GrpcAdapter/SendReceive",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/Watch",
    "/wardround.Federation/Revoke",
    "/",
)

CASES = (
    node_of_another_site,
    node_of_another_site_signed_by_it,
    replayed_headers,
    unknown_node_key,
    no_headers,
    no_signature,
    forged_signature,
    old_headers,
    senseless_time,
    time_without_zone,
    messages_of_another_site,
    deactivate_another_site,
    object_of_another_site,
    object_of_nobody,
    confirmed_for_another_site,
    answer_for_another_site,
    answer_to_another_sites_message,
    message_of_the_coordinator,
    message_to_another_site,
    answer_to_nothing,
    two_messages,
    no_message,
    object_that_nobody_expects,
    object_of_another_sites_answer,
    malformed,
    unsigned_json,
    unknown_field,
    large_small_call,
    many_objects,
    tree_of_another_node,
    large_announcement,
    large_document,
    *map(closed, CLOSED),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_refused(scene: Scene, case: Callable[[Scene], Case]) -> None:
    check(case(scene))
