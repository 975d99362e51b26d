"""The private coordinator against hostile sites: one is left out by name, and the sum of the others is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.private_runs import Consortium, private_scenario, watched
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from wardround.common.ids import SiteId
from wardround.common.wire.private import ADVERTISE, CONFIRM, JOIN, OPEN, UPLOAD
from wardround.common.wire.records import FIELDS, VECTOR, pack_vector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Lie = Callable[[RecordDict], RecordDict | None]

BAD = SiteId("site2")


def changed(**fields: Any) -> Lie:
    def lie(content: RecordDict) -> RecordDict:
        content[FIELDS] = ConfigRecord(dict(content[FIELDS]) | fields)
        return content

    return lie


def protocol(change: Callable[[bytes], bytes]) -> Lie:
    def lie(content: RecordDict) -> RecordDict:
        found = content[FIELDS]["content"]
        content[FIELDS] = ConfigRecord(dict(content[FIELDS]) | {"content": change(found)})
        return content

    return lie


def ring(make: Callable[[Array], Array]) -> Lie:
    def lie(content: RecordDict) -> RecordDict:
        content[VECTOR] = ArrayRecord({VECTOR: make(content[VECTOR][VECTOR])})
        return content

    return lie


def without_vector(content: RecordDict) -> RecordDict:
    del content[VECTOR]
    return content


def floats(content: RecordDict) -> RecordDict:
    content[VECTOR] = pack_vector(np.zeros(len(content[VECTOR][VECTOR].data) // 2, np.float32))
    return content


def resized(array: Array) -> Array:
    return Array(array.dtype, (array.shape[0] + 1,), array.stype, array.data + b"\x00\x00")


def retyped(array: Array) -> Array:
    other = "uint16" if array.dtype == "uint32" else "uint32"
    return Array(other, array.shape, array.stype, array.data)


ANYWHERE: list[Lie] = [
    lambda _: None,
    lambda _: RecordDict({}),
    changed(site="site1"),
    changed(site="site9"),
    changed(content="text"),
    changed(more=1),
    changed(loss=0.5),
    protocol(lambda _: b""),
    protocol(lambda content: content[:-1]),
    protocol(lambda content: content + b"\x00"),
    protocol(lambda content: bytes([content[0] ^ 1]) + content[1:]),
    protocol(lambda content: content[:2] + bytes([content[2] ^ 1]) + content[3:]),
]
UPLOADS: list[Lie] = [
    *ANYWHERE,
    without_vector,
    floats,
    ring(resized),
    ring(retyped),
    ring(lambda array: Array(array.dtype, array.shape, "numpy.ndarray", array.data)),
    ring(lambda array: Array(array.dtype, array.shape, array.stype, b"")),
]


def run(folder: Path, kind: str, lie: Lie) -> dict[str, Any]:
    """A run of one round at five sites, one of which lies in its replies of one kind."""
    consortium = Consortium.of(private_scenario(5, rounds=1, selection={"rule": "last"}), folder)
    grid, oracle = watched(consortium)
    answer = grid._answer

    def lying(message: Message) -> Message:
        reply = answer(message)
        if message.metadata.message_type != kind or grid.site(message) != BAD or reply.has_error():
            return reply
        content = lie(reply.content)
        return Message(Error(1), reply_to=message) if content is None else Message(content, reply_to=message)

    grid._answer = lying  # type: ignore[method-assign]
    history = consortium.coordinate(grid)
    assert max(share for _, share in oracle.errors(history)) <= 1
    record: dict[str, Any] = history["rounds"][0]
    return record


@pytest.mark.parametrize("place", range(len(UPLOADS)))
def test_an_unusable_upload_leaves_its_site_out(place: int, tmp_path: Path) -> None:
    record = run(tmp_path, UPLOAD, UPLOADS[place])
    assert set(record["dropped"]) == {BAD}
    assert len(record["sites"]) == 4


@pytest.mark.parametrize("kind", [ADVERTISE, JOIN])
@pytest.mark.parametrize("place", [0, 1, 2, 7, 11])
def test_a_site_that_does_not_join_properly_is_left_out(kind: str, place: int, tmp_path: Path) -> None:
    record = run(tmp_path, kind, ANYWHERE[place])
    assert record["dropped"][BAD].startswith("not in the session: ")
    assert len(record["sites"]) == 4


@pytest.mark.parametrize("kind", [CONFIRM, OPEN])
@pytest.mark.parametrize("place", [0, 2, 8, 11])
def test_a_site_that_lies_later_stays_in_the_sum(kind: str, place: int, tmp_path: Path) -> None:
    record = run(tmp_path, kind, ANYWHERE[place])
    assert set(record["silent"]) == {BAD}
    assert (len(record["sites"]), record["dropped"], record["attempts"]) == (5, {}, 1)


def test_wrong_shares_of_one_site_do_not_stop_the_round(tmp_path: Path) -> None:
    record = run(tmp_path, OPEN, protocol(lambda content: content[:-1] + bytes([content[-1] ^ 1])))
    assert (len(record["sites"]), record["attempts"]) == (5, 1)


def test_honest_sites_lose_nothing(tmp_path: Path) -> None:
    record = run(tmp_path, UPLOAD, lambda content: content)
    assert (record["dropped"], record["silent"], record["failed"]) == ({}, {}, [])
