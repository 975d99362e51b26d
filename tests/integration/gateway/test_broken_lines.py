"""Agents that are killed, lines that break off, clocks that are wrong: no message and no reply is lost or doubled."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.federated import echo, federated, until_alive
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from wardround.client import federation
from wardround.client import link as link_module
from wardround.client.federation import connect
from wardround.client.link import Link
from wardround.client.membership import node_key
from wardround.common.errors import WardroundError
from wardround.server.flower import grid as flower_grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.federated import Federated

    from wardround.server.flower import RuntimeGrid


@dataclass
class Scene:
    """A run with two sites."""

    stand: Federated
    grid: RuntimeGrid
    north: Path
    south: Path

    def ask(self, site: str, content: RecordDict | None = None) -> str:
        """A message for a site; its id."""
        node = self.stand.gateway.nodes()[site]
        given = RecordDict({"c": ConfigRecord({"at": time.time_ns()})}) if content is None else content
        [name] = self.grid.push_messages([self.grid.create_message(given, "train", node, "1")])
        return name

    def answers(self, *names: str) -> list[Message]:
        """All answers to these messages."""
        waiting, found = set(names), []
        while waiting:
            for reply in self.grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                found.append(reply)
        return found


@pytest.fixture
def scene(stand: Federated) -> Iterator[Scene]:
    """A run of its own for each test: what others left unanswered is of a run that is over."""
    grid = stand.grid(patience=0.2)
    north, south = stand.join("north"), stand.join("south")
    for home in (north, south):
        stand.link(home)
    yield Scene(stand, grid, north, south)
    grid.finish(completed=True)


def answer(message: Message, words: str = "done") -> Message:
    return Message(RecordDict({"a": ConfigRecord({"words": words, "filling": os.urandom(4096)})}), reply_to=message)


def received(link: Link) -> Message:
    message = link.receive()
    assert message is not None
    return message


def test_an_agent_that_is_killed_while_it_works_is_given_the_message_again(scene: Scene) -> None:
    name = scene.ask("north")
    _, first = scene.stand.link(scene.north)
    lost = received(first)
    assert first.receive() is None  # the one that works on it is not given it twice
    connection, second = scene.stand.link(scene.north)
    again = received(second)
    assert again.metadata.message_id == lost.metadata.message_id == name
    assert again.content["c"] == lost.content["c"]
    second.send(answer(again))
    [reply] = scene.answers(name)
    assert reply.content["a"]["words"] == "done"
    assert second.receive() is None
    assert Link(connection, node_key(scene.north), connection.greet(0).node_id).receive() is None  # it is answered


def test_a_newer_message_of_the_run_is_given_before_an_older_one_that_nobody_waits_for(scene: Scene) -> None:
    scene.ask("north")
    _, first = scene.stand.link(scene.north)
    received(first)
    newer = scene.ask("north")
    _, second = scene.stand.link(scene.north)
    message = received(second)
    assert message.metadata.message_id == newer
    assert second.receive() is None  # the older one is over
    second.send(answer(message))
    assert [each.has_error() for each in scene.answers(newer)] == [False]


def test_a_reply_that_breaks_off_is_completed_by_the_next_agent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    name = scene.ask("north")
    _, first = scene.stand.link(scene.north)
    message = received(first)
    content = answer(message).content
    with monkeypatch.context() as patch:
        patch.setattr(first, "_push", _breaks_off)
        with pytest.raises(ConnectionError):
            first.send(Message(content, reply_to=message))
    assert list(scene.grid.pull_messages([name])) == []  # announced, and not whole
    _, second = scene.stand.link(scene.north)
    second.send(Message(content, reply_to=received(second)))
    replies = scene.answers(name)
    assert [reply.content["a"] for reply in replies] == [content["a"]]


def _breaks_off(*_arguments: object) -> int:
    raise ConnectionError


def test_an_answer_of_the_gateway_that_is_lost_is_given_again(scene: Scene) -> None:
    name = scene.ask("south")
    connection, link = scene.stand.link(scene.south)
    link._offered()  # what came is thrown away with the link
    link = Link(connection, node_key(scene.south), connection.greet(0).node_id)
    link.send(answer(received(link)))
    assert [reply.has_error() for reply in scene.answers(name)] == [False]


def test_a_message_that_breaks_off_is_gone_on_with_over_another_connection(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = scene.ask("south", RecordDict({"m": ArrayRecord({"v": Array(np.arange(8_000_000, dtype=np.float32))})}))
    connection, link = scene.stand.link(scene.south)
    pulled: list[str] = []
    whole = link._pull

    def breaks_off(held: object, part: str) -> None:
        if len(pulled) == 3:
            raise WardroundError("WR-1901", "The line broke.")
        pulled.append(part)
        whole(held, part)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(link, "_pull", breaks_off)
        with pytest.raises(WardroundError, match="WR-1901"):
            link.receive()
    connection.close()
    link.use(connect(scene.south))
    message = received(link)
    assert message.metadata.message_id == name
    assert np.array_equal(message.content["m"]["v"].numpy(), np.arange(8_000_000, dtype=np.float32))
    link.send(answer(message))
    assert [reply.has_error() for reply in scene.answers(name)] == [False]


@pytest.mark.parametrize("wrong", [-86_400.0, 86_400.0])
def test_clocks_of_hospitals_do_not_matter(scene: Scene, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    clock = SimpleNamespace(time=lambda: time.time() + wrong, monotonic=time.monotonic)
    monkeypatch.setattr(federation, "time", clock)
    name = scene.ask("north")
    connection = connect(scene.north)
    node = scene.stand.gateway.nodes()["north"]
    with pytest.raises(WardroundError, match="WR-1909"):
        Link(connection, node_key(scene.north), node).heartbeat()  # it has not greeted and has its own clock
    link = Link(connection, node_key(scene.north), connection.greet(0).node_id)
    assert link.heartbeat()
    reply = answer(received(link))
    reply.metadata.__dict__["_created_at"] += wrong
    reply.metadata.__dict__["_ttl"] -= wrong
    link.send(reply)
    assert [each.has_error() for each in scene.answers(name)] == [False]


def test_a_site_on_a_slow_line_holds_up_nobody_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = scene.ask("north"), scene.ask("south")
    _, north = scene.stand.link(scene.north)
    _, south = scene.stand.link(scene.south)
    reply = answer(received(north), "slow")
    with monkeypatch.context() as patch:
        patch.setattr(north, "_push", _breaks_off)
        with pytest.raises(ConnectionError):
            north.send(reply)
    south.send(answer(received(south), "quick"))
    [first] = scene.answers(quick)
    assert first.content["a"]["words"] == "quick"
    assert list(scene.grid.pull_messages([slow])) == []
    north.send(reply)
    assert [each.content["a"]["words"] for each in scene.answers(slow)] == ["slow"]


def test_a_reply_that_never_becomes_whole_is_an_error_at_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    name = scene.ask("north")
    _, north = scene.stand.link(scene.north)
    reply = answer(received(north))
    with monkeypatch.context() as patch:
        patch.setattr(north, "_push", _breaks_off)
        with pytest.raises(ConnectionError):
            north.send(reply)
    assert list(scene.grid.pull_messages([name])) == []
    north.close()  # and it is not heard any more
    [lost] = scene.answers(name)
    assert lost.has_error()
    assert lost.metadata.src_node_id == scene.stand.gateway.nodes()["north"]
    assert "silent" in lost.error.reason
    _, north = scene.stand.link(scene.north)
    north.send(answer(received(north)))  # it comes back too late; its reply harms nobody


def test_a_reply_that_does_not_move_any_more_is_an_error_at_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    name, node = scene.ask("north"), scene.stand.gateway.nodes()["north"]
    _, north = scene.stand.link(scene.north)
    reply = answer(received(north))
    with monkeypatch.context() as patch:
        patch.setattr(north, "_push", _breaks_off)
        with pytest.raises(ConnectionError):
            north.send(reply)
    scene.grid.replied(node)  # said of another reply, and heard too late
    assert list(scene.grid.pull_messages([name])) == []
    monkeypatch.setattr(flower_grid, "STALLED_SECONDS", 0.0)
    [lost] = scene.answers(name)
    assert lost.has_error()
    assert "broke off" in lost.error.reason


def test_an_agent_is_woken_when_all_objects_are_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _, south = scene.stand.link(scene.south)

    def never(_seconds: float) -> None:
        raise AssertionError("it was woken too early")

    monkeypatch.setattr(link_module, "time", SimpleNamespace(sleep=never, monotonic=time.monotonic))
    seen: list[Message] = []
    woken = scene.grid._pushed
    monkeypatch.setattr(scene.grid, "_pushed", lambda nodes: (seen.append(received(south)), woken(nodes)))
    name = scene.ask("south", RecordDict({"m": ArrayRecord({"v": Array(np.ones(4_000_000, dtype=np.float32))})}))
    south.send(answer(seen[0]))
    assert [each.has_error() for each in scene.answers(name)] == [False]


def test_a_large_object_goes_there_and_back(scene: Scene) -> None:
    blob = os.urandom(20_000_000)  # one object: Flower cuts arrays into pieces, and bytes it does not
    connection, link = scene.stand.link(scene.north)
    with echo(connection, link):
        name = scene.ask("north", RecordDict({"c": ConfigRecord({"v": blob})}))
        [reply] = scene.answers(name)
    assert reply.content["c"]["v"] == blob


def test_what_a_run_left_behind_is_dropped_when_it_is_over(scene: Scene) -> None:
    stand = scene.stand
    before, grid = stand.replies.grid, stand.grid(patience=0.2)
    home = stand.join("west")
    _, link = stand.link(home)
    other = Scene(stand, grid, home, scene.south)
    other.ask("west")
    message = received(link)
    other.ask("west")
    grid.finish(completed=False, words="stopped")
    with pytest.raises(WardroundError, match="WR-1923"):
        link.send(answer(message))
    assert link.receive() is None
    _, restarted = stand.link(home)
    assert restarted.receive() is None
    stand.replies.grid = before
    name = scene.ask("west")
    restarted.send(answer(received(restarted)))
    assert [each.has_error() for each in scene.answers(name)] == [False]


def test_a_site_that_never_connected_is_answered_for(scene: Scene) -> None:
    scene.stand.join("absent")
    absent, present = scene.ask("absent"), scene.ask("north")
    _, link = scene.stand.link(scene.north)
    link.send(answer(received(link)))
    replies = {reply.metadata.reply_to_message_id: reply for reply in scene.answers(absent, present)}
    assert "not connected" in replies[absent].error.reason
    assert not replies[present].has_error()


def test_an_answer_to_what_was_never_received_is_refused_here(scene: Scene) -> None:
    _, link = scene.stand.link(scene.north)
    message = scene.grid.create_message(RecordDict(), "train", 5, "1")
    with pytest.raises(ValueError, match="answers no message"):
        link.send(Message(RecordDict(), reply_to=message))


def test_another_superlink_is_told_and_everything_goes_on(tmp_path: Path) -> None:
    with federated(tmp_path) as stand:
        home = stand.join("north")
        connection, _ = stand.link(home)
        watch, before = connection.watch(), connection.greet(0)
        until_alive(watch)
        stand.superlink.stop()
        with pytest.raises(WardroundError, match="WR-1922"):
            connection.greet(0)
        stand.superlink.start()
        assert next(event for event in watch if event != "alive") == "superlink"
        after = connection.greet(0)
        assert (after.incarnation == before.incarnation, after.node_id == before.node_id) == (False, False)
        link = Link(connection, node_key(home), after.node_id)
        assert link.heartbeat()
        grid = stand.grid(patience=0.2)
        scene = Scene(stand, grid, home, home)
        name = scene.ask("north")
        link.send(answer(received(link)))
        assert [each.has_error() for each in scene.answers(name)] == [False]


@pytest.mark.slow
def test_a_site_that_falls_silent_is_reported_and_may_come_back(scene: Scene) -> None:
    name = scene.ask("north")
    _, link = scene.stand.link(scene.north)
    received(link)  # and then nothing more for two intervals
    [silent] = scene.answers(name)
    assert silent.has_error()
    assert silent.metadata.src_node_id == scene.stand.gateway.nodes()["north"]
    assert "silent" in silent.error.reason
    _, link = scene.stand.link(scene.north)
    again = link.receive()
    if again is not None:  # what was given up may still be offered; its answer harms nobody
        link.send(answer(again))
    name = scene.ask("north")
    link.send(answer(received(link)))
    assert [each.has_error() for each in scene.answers(name)] == [False]
