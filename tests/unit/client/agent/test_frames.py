"""Frames between agent and worker: what is written is read, and what is no frame is refused."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from wardround.client.agent import frames
from wardround.client.agent.frames import Question, Ready, Reply, VectorForm

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
