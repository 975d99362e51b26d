"""Frames between agent and worker: what is written is read, and what is no frame is refused."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from wardround.client.agent import frames
from wardround.client.agent.frames import Question, Ready, Reply, VectorForm
from wardround.client.agent.worker import serve
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

FORM = VectorForm("float32", (3,), "wardround.float32.le")


def exchange(letter: bytes, header: object, body: bytes = b"") -> tuple[bytes, object, bytearray]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = threading.Thread(target=frames.send, args=(ours, letter, header, body))
        writer.start()
        found = frames.receive(theirs)
        writer.join()
    return found


def test_a_question_arrives_as_it_was_sent() -> None:
    fields = {"study": "sha256:0", "round": 3, "lists": [1, 2], "loss": 0.1, "content": bytes(range(256)), "yes": True}
    question = Question("train", 2**60 + 1, fields, FORM)
    body = bytes(range(256)) * 40_000  # more than a socket's buffer holds
    letter, header, received = exchange(frames.QUESTION, question, body)
    assert (letter, received) == (frames.QUESTION, body)
    assert frames.read_question(header) == question


@pytest.mark.parametrize("reply", [Reply(reason="WR-1301: no."), Reply({"site": "north"}), Reply({"a": b""}, FORM)])
def test_a_reply_arrives_as_it_was_sent(reply: Reply) -> None:
    assert frames.read_reply(exchange(frames.REPLY, reply)[1]) == reply


def test_a_ready_arrives_as_it_was_sent() -> None:
    ready = Ready("none", refused="WR-1601")
    assert Ready(**exchange(frames.READY, ready)[1]) == ready


def test_a_closed_socket_is_no_frame() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b"Q\x00")
        ours.close()
        with pytest.raises(EOFError):
            frames.receive(theirs)


@pytest.mark.parametrize(("header", "body"), [(frames.MAX_HEADER + 1, 0), (0, frames.MAX_BODY + 1)])
def test_a_frame_that_is_too_long_is_refused_unread(header: int, body: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("<cQQ", b"Q", header, body))
        with pytest.raises(ValueError, match="too long"):
            frames.receive(theirs)


MALFORMED = {
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "a depth without end": b"[" * 100_000,
    "half a byte": b'{"fields": {"content": {"hex": "abc"}}}',
    "no digits": b'{"fields": {"content": {"hex": "zz"}}}',
    "digits that are a number": b'{"fields": {"content": {"hex": 7}}}',
    "no question": b"[1, 2]",
    "a question without fields": b'{"kind": "train", "run": 1, "vector": null, "fields": null}',
    "an unknown key": b'{"kind": "train", "run": 1, "vector": null, "fields": {}, "more": 1}',
    "a vector of words": b'{"kind": "train", "run": 1, "vector": "long", "fields": {}}',
    "a shape that is none": b'{"kind": "t", "run": 1, "fields": {}, "vector": {"dtype": "a", "shape": 7, "stype": ""}}',
    "a negative size": b'{"kind": "t", "run": 1, "vector": {"dtype": "a", "shape": [-1], "stype": "b"}, "fields": {}}',
    "a million dimensions": b'{"kind": "t", "run": 1, "fields": {}, "vector": {"dtype": "a", "stype": "b", "shape": ['
    + b"1," * 999_999
    + b"1]}}",
    "heads that nobody signed": b'{"kind": "t", "run": 1, "fields": {}, "vector": null, "heads": [{"head": 1}]}',
}


def framed(letter: bytes, header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<cQQ", letter, len(header), len(body)) + header + body


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_message_costs_the_worker_one_refusal(name: str, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(120)
    with theirs:
        serving = threading.Thread(target=serve, args=(theirs, str(tmp_path)), daemon=True)
        serving.start()
        with ours:
            ours.sendall(framed(frames.QUESTION, MALFORMED[name], b"\x00" * 12))
            letter, header, _ = frames.receive(ours)
            assert letter == frames.REPLY
            assert frames.read_reply(header).reason.startswith("WR-1301")  # type: ignore[union-attr]
            frames.send(ours, frames.SIZES, "sha256:" + "0" * 64)  # the control: the next message is answered
            letter, header, _ = frames.receive(ours)
            assert letter == frames.LAYOUT
        serving.join()


def test_what_is_longer_than_a_frame_is_refused_before_anything_is_written() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for question in (
            Question("train", 1, {"content": bytes(frames.MAX_HEADER // 2)}),
            Question("train", 1, {"study": "x" * frames.MAX_HEADER}),
        ):
            with pytest.raises(WardroundError, match="WR-1301"):
                frames.send(ours, frames.QUESTION, question)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        theirs.setblocking(True)
        frames.send(ours, frames.QUESTION, Question("train", 1, {"content": bytes(1000)}))  # the control
        assert frames.read_question(frames.receive(theirs)[1]).fields["content"] == bytes(1000)
