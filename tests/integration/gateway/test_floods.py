"""One site's flood of calls leaves the gateway to the others: calls count from their headers on, bodies wait."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import grpc
from fakes.callers import outcome
from fakes.federated import federated

from wardround.client.federation import connect
from wardround.client.membership import site_credentials
from wardround.common.errors import WardroundError
from wardround.common.wire import federation as wire
from wardround.server.consortium.settings import GatewaySettings
from wardround.server.gateway import calls as gateway_calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest
    from fakes.federated import Federated

GREET = wire.Greet(release="0.1.0", protocols=wire.PROTOCOLS, roster=0).canonical()


@contextmanager
def channels(stand: Federated, home: Path, count: int) -> Iterator[list[grpc.Channel]]:
    """Connections of one site, each its own."""
    key, certificate, trusted = site_credentials(home)
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with ExitStack() as stack:
        yield [
            stack.enter_context(grpc.secure_channel(stand.address, credentials, options=options)) for _ in range(count)
        ]


def without_body(channel: grpc.Channel, method: str, over: threading.Event) -> grpc.Future:
    """A call whose headers go out and whose body never comes."""

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    return channel.stream_unary(method).future(nothing(), timeout=60)


def test_calls_without_a_body_count_and_leave_the_gateway_to_the_others(tmp_path: Path) -> None:
    over = threading.Event()
    with federated(tmp_path, settings=GatewaySettings(streams=8)) as stand:
        loud, quiet = stand.join("loud"), stand.join("quiet")
        with channels(stand, loud, 3) as opened, connect(quiet) as other:
            flood = [without_body(channel, wire.GREET, over) for channel in opened for _ in range(14)]
            end = time.monotonic() + 60
            while _refused(flood) < len(flood) - 8:  # all but those that may be open, whichever they are
                assert time.monotonic() < end, f"{_refused(flood)} of {len(flood)} calls were refused"
                time.sleep(0.01)
            assert other.greet(0).site == "quiet"
            assert stand.gateway.counts()["WR-1910"] >= len(flood) - 8
            over.set()
        with connect(loud) as again:  # the control: when the flood is over the same site is served
            assert again.greet(0).site == "loud"


def _refused(calls: list[grpc.Future]) -> int:
    """How many have ended because too many of their site were open."""
    return sum(call.done() and call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED for call in calls)


def _ended_with(call: grpc.Future, code: str) -> bool:
    try:
        call.result(timeout=20)
    except grpc.RpcError as error:
        return (error.details() or "").startswith(code)
    except grpc.FutureTimeoutError:
        return False
    return False


def test_a_body_that_does_not_come_ends_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_calls, "BODY_SECONDS", 0.3)
    over = threading.Event()
    with federated(tmp_path) as stand:
        home = stand.join("north")
        with channels(stand, home, 1) as [channel]:
            assert outcome(lambda: channel.unary_unary(wire.GREET)(GREET, timeout=20)) == "accepted"
            assert _ended_with(without_body(channel, wire.GREET, over), "WR-1910")
            assert outcome(lambda: channel.unary_unary(wire.GREET)(GREET, timeout=20)) == "accepted"
            over.set()


def test_large_bodies_are_refused_and_the_others_are_served(stand: Federated) -> None:
    loud, quiet = stand.join("loud"), stand.join("quiet")
    body = b"x" * (8 << 20)
    with channels(stand, loud, 2) as opened, connect(quiet) as other:
        flood = [channel.unary_unary(wire.GREET).future(body, timeout=60) for channel in opened for _ in range(12)]
        assert other.greet(0).site == "quiet"
        assert all(_ended_with(call, "WR-1910") for call in flood)
        small = opened[0].unary_unary(wire.GREET)  # the control: it is the body that is refused
        assert outcome(lambda: small(GREET, timeout=20)) == "accepted"


def test_a_refused_body_is_gone_with_its_call(stand: Federated) -> None:
    """What refuses a body has its frames, and the body in them, until nothing holds it any more."""
    home = stand.join("loud")
    gc.collect()
    gc.disable()
    try:
        with channels(stand, home, 1) as [channel]:
            sent = channel.unary_unary(wire.GREET)
            assert {outcome(lambda: sent(b"x" * (4 << 20), timeout=20)) for _ in range(5)} == {
                "RESOURCE_EXHAUSTED WR-1910"
            }
            assert outcome(lambda: sent(GREET, timeout=20)) == "accepted"  # the gateway is done with those before
        assert _refusals() == 0
        kept = WardroundError("WR-1910", "This one is held.")
        assert _refusals() == 1, kept  # the control: one that is there is counted
    finally:
        gc.enable()


def _refusals() -> int:
    return sum(isinstance(each, WardroundError) and each.code == "WR-1910" for each in gc.get_objects())
