"""Few replies lie at the SuperLink at a time, and a site that does not go on holds up nobody."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.federated import federated
from flwr.app import ConfigRecord, Message, RecordDict

from wardround.server.gateway import tunnel
from wardround.server.gateway.turnstile import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.federated import Federated

    from wardround.client.link import Link
    from wardround.server.flower import RuntimeGrid

SITES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federated]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tunnel, "REPLIES", Limits(width=2, each=2, most=99, patience=0.3))
        with federated(tmp_path_factory.mktemp("turns")) as started:
            yield started


def asked(stand: Federated) -> tuple[RuntimeGrid, list[str], list[tuple[Link, Message]]]:
    """A question to every site, and each site's link with the answer that it has not sent yet."""
    links = [stand.link(stand.join(site))[1] for site in SITES]
    grid, nodes = stand.grid(patience=0.2), stand.gateway.nodes()
    content = RecordDict({"c": ConfigRecord({"at": time.time_ns()})})
    names = list(grid.push_messages([grid.create_message(content, "train", nodes[site], "1") for site in SITES]))
    answers = []
    for link in links:
        message = link.receive()
        assert message is not None
        filling = ConfigRecord({"filling": os.urandom(4096)})
        answers.append((link, Message(RecordDict({"a": filling}), reply_to=message)))
    stand.replies.seen.clear()
    return grid, names, answers


def test_a_reply_waits_until_an_earlier_one_is_fetched(stand: Federated) -> None:
    grid, names, answers = asked(stand)
    waiting, fetched = set(names), 0
    with ThreadPoolExecutor(len(SITES)) as pool:
        sending = [pool.submit(link.send, answer) for link, answer in answers]
        while len(stand.replies.seen) < 2:
            time.sleep(0.01)
        while waiting:
            assert len(stand.replies.seen) - fetched <= 2
            for reply in grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                fetched += 1
        assert all(future.result() > 4096 for future in sending)
    grid.finish(completed=True)


def test_nothing_waits_where_there_is_room(stand: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it is the width that holds replies back."""
    monkeypatch.setattr(stand.gateway._tunnel._replies, "_limits", Limits(width=5, each=2, most=99, patience=60.0))
    grid, names, answers = asked(stand)
    with ThreadPoolExecutor(len(SITES)) as pool:
        sending = [pool.submit(link.send, answer) for link, answer in answers]
        assert all(future.result() > 4096 for future in sending)  # nothing was fetched yet
    assert len(stand.replies.seen) == len(SITES)
    waiting = set(names)
    while waiting:
        waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
    grid.finish(completed=True)


def test_sites_that_announce_and_send_nothing_hold_up_nobody(stand: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, names, answers = asked(stand)
    silent, others = answers[:3], answers[3:]
    for link, answer in silent:
        monkeypatch.setattr(link, "_push", _breaks_off)
        with pytest.raises(ConnectionError):
            link.send(answer)
    with ThreadPoolExecutor(len(SITES)) as pool:
        sending = [pool.submit(link.send, answer) for link, answer in others]
        waiting = set(names[3:])
        while waiting:
            waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
        assert all(future.result() > 4096 for future in sending)
    monkeypatch.undo()
    for link, answer in silent:  # and they come too, when they go on
        link.send(answer)
    waiting = set(names[:3])
    while waiting:
        waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
    grid.finish(completed=True)


def test_replies_that_nobody_waits_for_hold_up_nobody(stand: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, names, answers = asked(stand)
    monkeypatch.setattr(tunnel, "FETCHED_SECONDS", 3600.0)
    monkeypatch.setattr(stand.gateway._tunnel._replies, "_limits", Limits(width=2, each=2, most=99, patience=60.0))
    with ThreadPoolExecutor(len(SITES)) as pool:
        for (link, answer), name in zip(answers[:3], names[:3], strict=True):
            kept = dict(link._held)
            pool.submit(link.send, answer).result(60)
            waiting = {name}
            while waiting:
                waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
            link._held.update(kept)
            again = Message(RecordDict({"a": ConfigRecord({"f": os.urandom(4096)})}), reply_to=answer_to(link, name))
            pool.submit(link._pushed, again, kept[name]).result(60)  # the question is not open any more
        link, answer = answers[3]
        assert pool.submit(link.send, answer).result(60) > 4096
        link, answer = answers[4]
        assert pool.submit(link.send, answer).result(60) > 4096
        # The control: these two are waited for, and hold both places.
        assert stand.gateway._tunnel._replies.inside == 2
    waiting = set(names[3:])
    while waiting:
        waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
    grid.finish(completed=True)


def answer_to(link: Link, name: str) -> Message:
    """The message that a link holds."""
    return link._held[name].shell


def _breaks_off(*_arguments: object) -> int:
    raise ConnectionError
