"""How much and how long: caps, quotas, open calls, deadlines, and frames that are no gRPC; each with its control."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from fakes.callers import NO_CONNECTION, Shown, call, frame, handshake, literal, outcome
from fakes.federated import federated, until_alive

from wardround.client.channel import LARGEST
from wardround.client.federation import connect
from wardround.client.membership import site_credentials
from wardround.common.errors import WardroundError
from wardround.common.wire import federation as wire
from wardround.server.consortium.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.federated import Federated

GREET = wire.Greet(release="0.1.0", protocols=wire.PROTOCOLS, roster=0).canonical()
NOTHING = wire.Nothing().canonical()
V13 = ssl.TLSVersion.TLSv1_3
HEADERS, DATA = 1, 0
END_STREAM, END_HEADERS = 1, 4


def calls(stand: Federated, home: Path, method: str = wire.GREET, body: bytes = GREET) -> Callable[[], bytes]:
    key, certificate, trusted = site_credentials(home)
    return lambda: call(stand.address, trusted, Shown(key, certificate), method, body)


def test_a_message_above_the_cap_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with federated(tmp_path, settings=GatewaySettings(max_message_mb=1)) as stand:
        home = stand.join("north")
        greets = calls(stand, home)
        assert outcome(greets) == "accepted"
        with connect(home) as connection:
            too_large = connection.channel.unary_unary("/flwr.proto.Fleet/PushObject")
            with pytest.raises(grpc.RpcError) as refused:
                too_large(b"x" * (2 << 20), timeout=20)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            below = connection.channel.unary_unary("/flwr.proto.Fleet/PushObject")
            with pytest.raises(grpc.RpcError) as read:
                below(b"x" * (1 << 20), timeout=20)
            assert (read.value.details() or "").startswith("WR-1909")  # it was read, and has no node key
        assert outcome(greets) == "accepted"
        assert LARGEST > 1 << 30  # the hospital's own cap is not what refused


def test_a_site_that_calls_too_often_is_refused_and_others_are_not(tmp_path: Path) -> None:
    with federated(tmp_path, settings=GatewaySettings(calls_per_second=0.5)) as stand:
        loud, quiet = calls(stand, stand.join("loud")), calls(stand, stand.join("quiet"))
        said = [outcome(loud) for _ in range(8)]
        assert said[0] == "accepted"
        assert said[-1] == "RESOURCE_EXHAUSTED WR-1910"
        assert outcome(quiet) == "accepted"
        assert stand.gateway.counts()["WR-1910"] >= 1


def test_a_site_that_sends_too_many_bytes_is_refused_and_others_are_not(tmp_path: Path) -> None:
    with federated(tmp_path, settings=GatewaySettings(megabytes_per_minute=0.01, max_message_mb=1)) as stand:
        loud, quiet = stand.join("loud"), calls(stand, stand.join("quiet"))
        document = wire.Decide.__name__.encode() + b" " * (3 << 18)
        sends = calls(stand, loud, wire.DECIDE, document)
        assert outcome(sends) == "INVALID_ARGUMENT WR-1902"  # taken, counted and read
        assert outcome(sends) == "RESOURCE_EXHAUSTED WR-1910"
        assert outcome(quiet) == "accepted"


def test_a_site_with_too_many_open_calls_is_refused_until_one_ends(tmp_path: Path) -> None:
    with federated(tmp_path, settings=GatewaySettings(streams=2)) as stand:
        home = stand.join("north")
        with connect(home) as first, connect(home) as second:
            watch = first.watch()
            until_alive(watch)
            assert second.greet(0).site == "north"  # one open call of two
            with stand.waiting_call(first), pytest.raises(WardroundError, match="WR-1910"):
                second.greet(0)
            assert second.greet(0).site == "north"


def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with federated(tmp_path, settings=GatewaySettings(deadline_seconds=1)) as stand:
        home = stand.join("north")
        with connect(home) as connection:
            assert connection.greet(0).site == "north"
            with stand.locked_database(), pytest.raises(grpc.RpcError) as ended:
                connection.channel.unary_unary(wire.REPORT)(wire.Report(state="idle").canonical(), timeout=20)
            assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            connection.report(wire.Report(state="idle"))


PLAIN = literal((
    (":method", "POST"),
    (":scheme", "https"),
    (":path", wire.GREET),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
))  # fmt: skip
COMPRESSED = PLAIN + literal((("grpc-encoding", "no-such-encoding"),))


def posted(message: bytes, headers: bytes = PLAIN, end: int = END_STREAM) -> bytes:
    return frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, end, 1, message)


def sized(content: bytes, size: int | None = None, compressed: int = 0) -> bytes:
    """A gRPC message (gRPC over HTTP/2, Length-Prefixed-Message)."""
    return bytes((compressed,)) + (len(content) if size is None else size).to_bytes(4, "big") + content


FRAMES = {
    "a message that is shorter than it says": posted(sized(b"abc", size=100)),
    "a message that says 4 GB": posted(sized(b"abc", size=(1 << 32) - 1)),
    "compressed by nothing known": posted(sized(b"abc", compressed=1), COMPRESSED),
    "a compressed flag without an encoding": posted(sized(b"abc", compressed=1)),
    "no message at all": frame(HEADERS, END_HEADERS | END_STREAM, 1, PLAIN),
    "headers that are none": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 64),
    "data on a stream that was never opened": frame(DATA, END_STREAM, 9, sized(b"abc")),
    "headers of 64 kB": posted(sized(GREET), PLAIN + literal((("x-long", "a" * 126),)) * 512),
    "a frame of 16 MB": (16_777_215).to_bytes(3, "big") + bytes((DATA, 0)) + (1).to_bytes(4, "big"),
    "an even stream": frame(HEADERS, END_HEADERS | END_STREAM, 2, PLAIN),
    "noise": bytes(range(256)) * 64,
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_are_no_call(stand: Federated, name: str) -> None:
    home = stand.join("framed")
    key, certificate, _ = site_credentials(home)
    before = stand.gateway.counts().get("calls", 0)
    handshake(stand, Shown(key, certificate), V13, V13, FRAMES[name])
    assert stand.gateway.counts().get("calls", 0) == before  # nothing came of it
    handshake(stand, Shown(key, certificate), V13, V13, posted(sized(GREET)))
    assert stand.gateway.counts()["calls"] == before + 1  # the same by hand, with nothing wrong
    assert outcome(calls(stand, home)) == "accepted"


def test_a_site_that_opens_many_streams_at_once_keeps_nobody_else_out(stand: Federated) -> None:
    loud, quiet = stand.join("loud"), stand.join("quiet")
    with connect(loud) as connection:
        futures = [connection.channel.unary_unary(wire.GREET).future(GREET, timeout=20) for _ in range(300)]
        assert outcome(calls(stand, quiet)) == "accepted"
        said = {outcome(future.result) for future in futures}
    assert said <= {"accepted", "RESOURCE_EXHAUSTED WR-1910", NO_CONNECTION}  # the last: HTTP/2 refused the stream
    assert "accepted" in said
    assert threading.active_count() < 200
