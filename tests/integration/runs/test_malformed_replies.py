"""A hospital that answers with what no agent sends loses its round; nobody else loses anything."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.federated import federated
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_head_values_from_object_content,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes.federated import Federated

    from wardround.client.link import Link
    from wardround.server.flower import RuntimeGrid

Contents = dict[str, bytes]

VALUES = np.arange(100_000, dtype=np.float32)


@dataclass
class Scene:
    """A run with two sites, both of which were asked and have received their message."""

    stand: Federated
    grid: RuntimeGrid
    links: dict[str, Link]

    def ask(self) -> dict[str, Message]:
        """Each site's message."""
        content = RecordDict({"vector": ArrayRecord({"vector": Array(VALUES)})})
        nodes = self.stand.gateway.nodes()
        self.grid.push_messages(
            self.grid.create_message(content, "train", nodes[site], f"1 {site}") for site in self.links
        )
        found = {site: link.receive() for site, link in self.links.items()}
        return {site: message for site, message in found.items() if message is not None}

    def answers(self, asked: dict[str, Message]) -> dict[str, Message]:
        """What the coordinator gets, by the site that it counts for."""
        sites = {message.metadata.message_id: site for site, message in asked.items()}
        waiting, found = set(sites), dict[str, Message]()
        while waiting:
            for reply in self.grid.pull_messages(waiting):
                name = reply.metadata.reply_to_message_id
                waiting.discard(name)
                found[sites[name]] = reply
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with federated(tmp_path_factory.mktemp("malformed")) as stand:
        grid = stand.grid(patience=0.2)
        yield Scene(stand, grid, {site: stand.link(stand.join(site))[1] for site in ("north", "south")})
        grid.finish(completed=True)


def honest(message: Message) -> Message:
    """With values that no other message has."""
    values = VALUES + np.float32(int(message.metadata.message_id[:4], 16))
    return Message(RecordDict({"vector": ArrayRecord({"vector": Array(values)})}), reply_to=message)


def deflated(reply: Message) -> tuple[str, Contents]:
    """The name of a message's object, and all objects."""
    reply.metadata.__dict__["_message_id"] = ""
    return reply.object_id, {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}


def push(link: Link, message: Message, root: str, contents: Contents) -> None:
    """Send objects in an envelope that says all that it should."""
    shell = message_to_proto(remove_content_from_message(honest(message)))
    shell.metadata.message_id = root
    held = link._held[message.metadata.message_id]
    shell.metadata.created_at, shell.metadata.ttl = held.created_at, held.ttl
    trees = [tree_of(root, contents)]
    answer = link._call(
        "PushMessages", PushMessagesRequest(node=link._node, messages_list=[shell], message_object_trees=trees)
    )
    for part in answer.objects_to_push:
        link._push(held, answer.session_id, contents, part)
    link._confirm(message.metadata.message_id)


def tree_of(name: str, contents: Contents) -> ObjectTree:
    try:
        children = get_object_head_values_from_object_content(contents[name])[1]
    except ValueError:
        children = []
    return ObjectTree(object_id=name, children=[tree_of(child, contents) for child in children if child in contents])


def single(content: bytes) -> tuple[str, Contents]:
    name = hashlib.sha256(content).hexdigest()
    return name, {name: content}


def no_message(_: Message) -> tuple[str, Contents]:
    """It says that it is one, which is all that the SuperLink looks at."""
    return single(b"Message  4\0\xff\xfe\xfd\xfc")


def other_class(message: Message) -> tuple[str, Contents]:
    """Whole and of Flower, and no message."""
    content = RecordDict({"a": ConfigRecord({"to": message.metadata.message_id})})
    return content.object_id, {name: part.deflate() for name, part in get_all_nested_objects(content).items()}


def damaged_inside(message: Message) -> tuple[str, Contents]:
    _, contents = deflated(honest(message))
    return with_array(contents, b"{")


def with_a_part_missing(message: Message) -> tuple[str, Contents]:
    root, contents = deflated(honest(message))
    del contents[next(name for name, content in contents.items() if content.startswith(b"ArrayChunk"))]
    return root, contents


def far_larger_inside(message: Message) -> tuple[str, Contents]:
    """An array whose only chunk stands at two hundred places: of 400 kB it makes 80 MB, and might make any number."""
    _, contents = deflated(honest(message))
    array = contents[array_of(contents)].partition(b"\0")[2]
    return with_array(contents, json.dumps(json.loads(array) | {"arraychunk_ids": [0] * 200}).encode())


def array_of(contents: Contents) -> str:
    return next(name for name, content in contents.items() if content.startswith(b"Array "))


def with_array(contents: Contents, body: bytes) -> tuple[str, Contents]:
    """Another body for the array."""
    array = array_of(contents)
    words = [*contents[array].partition(b"\0")[0].split(b" ")[:2], str(len(body)).encode()]
    return changed(contents, array, b" ".join(words) + b"\0" + body)


def changed(contents: Contents, old: str, content: bytes) -> tuple[str, Contents]:
    """Another content for one object, and other names for it and for all that name it; the root's new name."""
    new = hashlib.sha256(content).hexdigest()
    del contents[old]
    contents[new] = content
    for name, parent in list(contents.items()):
        if old.encode() in parent:
            return changed(contents, name, parent.replace(old.encode(), new.encode()))
    return new, contents


@pytest.mark.parametrize(
    "malformed",
    [no_message, other_class, damaged_inside, with_a_part_missing, far_larger_inside],
)
def test_a_malformed_reply_costs_its_hospital_the_round(
    malformed: Callable[[Message], tuple[str, Contents]], scene: Scene
) -> None:
    asked = scene.ask()
    push(scene.links["north"], asked["north"], *malformed(asked["north"]))
    push(scene.links["south"], asked["south"], *deflated(honest(asked["south"])))  # the control: the same way
    found = scene.answers(asked)
    assert found["north"].error.reason.startswith("WR-1301")
    assert found["south"].content == honest(asked["south"]).content
    asked = scene.ask()  # and it is one round
    for site, link in scene.links.items():
        link.send(honest(asked[site]))
    assert [reply.has_error() for reply in scene.answers(asked).values()] == [False, False]


def in_its_place(inner: dict[str, Any], other: Message) -> None:
    """As if it answered the other site's message."""
    inner["_reply_to_message_id"] = other.metadata.message_id


def in_its_name(inner: dict[str, Any], other: Message) -> None:
    """As if the other site had answered."""
    inner["_src_node_id"] = other.metadata.dst_node_id


def as_the_other(inner: dict[str, Any], other: Message) -> None:
    in_its_place(inner, other)
    in_its_name(inner, other)


@pytest.mark.parametrize("claim", [in_its_place, in_its_name, as_the_other])
def test_a_reply_that_says_inside_what_its_envelope_does_not_is_refused(
    claim: Callable[[dict[str, Any], Message], None], scene: Scene
) -> None:
    asked = scene.ask()
    false = honest(asked["north"])
    claim(false.metadata.__dict__, asked["south"])
    push(scene.links["north"], asked["north"], *deflated(false))
    true = Message(RecordDict({"a": ConfigRecord({"who": "south"})}), reply_to=asked["south"])
    push(scene.links["south"], asked["south"], *deflated(true))  # the control: the same way
    found = scene.answers(asked)
    assert found["north"].error.reason.startswith("WR-1301")
    assert found["north"].metadata.src_node_id == asked["north"].metadata.dst_node_id
    assert found["south"].content["a"]["who"] == "south"
