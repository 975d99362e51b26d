"""Objects of an announcement are counted where they lie, as Flower counts them."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_object_tree, iterate_object_tree

from wardround.server.flower import HEAD_BYTES, NAME_BYTES, count_objects, read_fleet_call

PUSH = "PushMessages"
NAME = "a" * 64


def announcement(*trees: ObjectTree, node: int = 7) -> bytes:
    return bytes(PushMessagesRequest(node=Node(node_id=node), message_object_trees=trees).SerializeToString())


def wide(count: int, name: str = NAME) -> ObjectTree:
    """A tree of one more objects."""
    return ObjectTree(object_id=NAME, children=[ObjectTree(object_id=name) for _ in range(count)])


def test_a_reply_has_the_objects_that_flower_finds() -> None:
    values = Array(np.zeros(3 << 20, dtype=np.float32))
    record = RecordDict({"v": ArrayRecord({"v": values}), "c": ConfigRecord({"at": 1})})
    tree = get_object_tree(record)
    objects = len(list(iterate_object_tree(tree)))
    assert objects > 5
    assert count_objects(announcement(tree), 99) == objects
    assert count_objects(announcement(), 99) == 0


def test_an_announcement_has_room_for_its_objects() -> None:
    deep = wide(0)
    for _ in range(50):
        deep = ObjectTree(object_id=NAME, children=[deep, wide(1)])
    for tree in (wide(40_000), deep):
        body = announcement(tree)
        assert len(body) < count_objects(body, 99_999) * NAME_BYTES + HEAD_BYTES


def test_no_more_objects_are_counted_than_are_allowed() -> None:
    body = announcement(wide(1000, name=""))
    assert count_objects(body, 1001) == 1001
    assert count_objects(body, 1000) > 1000
    assert 10 < count_objects(body, 10) < 20


def test_the_node_is_known_without_the_tree() -> None:
    good = announcement(wide(3))
    damaged = good[:-65] + b"\x41" + good[-64:]  # the length of the last name
    assert read_fleet_call(PUSH, damaged).node == read_fleet_call(PUSH, good).node == 7
    with pytest.raises(ValueError, match=r"cut off"):
        count_objects(damaged, 99)
    assert count_objects(good, 99) == 4


@pytest.mark.parametrize(
    "body",
    [
        announcement(wide(1), wide(1)),
        announcement() + PushMessagesRequest(message_object_trees=[ObjectTree()]).SerializeToString() * 100_000,
        announcement(wide(1)) + (b"\x22\x00" * HEAD_BYTES),
        announcement(wide(1))[:-1],
        b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08\x01",
    ],
    ids=["two trees", "many trees", "much beside the tree", "cut off", "an endless length", "a number"],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|cut off"):
        read_fleet_call(PUSH, body)


@pytest.mark.parametrize("content", [b"\x0a\x00" * 2, b"\x1a\x00", b"\x08\x01"], ids=["two names", "else", "a number"])
def test_malformed_trees(content: bytes) -> None:
    def tree(inside: bytes) -> bytes:
        return b"\x1a" + bytes((len(inside),)) + inside

    assert count_objects(tree(b"\x0a\x00"), 9) == 1
    with pytest.raises(ValueError, match=r"name|message"):
        count_objects(tree(content), 9)
