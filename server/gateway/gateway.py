"""The gateway as the coordinator's process uses it: start, stop, wake, announce."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from wardround.common.errors import WardroundError
from wardround.common.wire.federation import SERVICE
from wardround.server.flower import FLEET_CALLS, FLEET_PREFIX, HEAD_BYTES, NAME_BYTES, bundle
from wardround.server.gateway.callers import Callers
from wardround.server.gateway.calls import Guard
from wardround.server.gateway.federation import Federation
from wardround.server.gateway.hub import ALIVE_SECONDS, Hub
from wardround.server.gateway.listening import why_not
from wardround.server.gateway.nodes import Nodes
from wardround.server.gateway.presence import Presence, read_state
from wardround.server.gateway.quotas import Quotas
from wardround.server.gateway.tls import Trust
from wardround.server.gateway.tunnel import MOST_OBJECTS, Tunnel
from wardround.server.gateway.turnstile import Limits, Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wardround.common.ids import SiteId
    from wardround.common.wire.federation import EventKind
    from wardround.server.consortium import Consortium
    from wardround.server.gateway.callers import Member
    from wardround.server.gateway.calls import Metadata
    from wardround.server.gateway.nodes import SuperLinkLike
    from wardround.server.gateway.presence import State

log = logging.getLogger("wardround.gateway")

HEALTH: Final = "/grpc.health.v1.Health/Check"
LOOK_SECONDS: Final = 0.5
"""Pause between two looks at whether other processes changed the store."""

_SMALL: Final = 64 << 10
_ANNOUNCEMENT: Final = MOST_OBJECTS * NAME_BYTES + HEAD_BYTES
_WORKERS: Final = 8
_STOP_SECONDS: Final = 2.0
_MOST_CALLS: Final = 4096

REQUESTS: Final = Limits(width=8, each=2, most=32, patience=0.5)
"""How many small requests are read at a time: a body is small only once it is there, all of it."""

TRANSFERS: Final = Limits(width=5, each=2, most=64, patience=1.0)
"""How many objects of messages and replies are on their way at a time, Flower's pieces of at most 5 MiB."""


class Hooks(Protocol):
    """What the coordinator's process is told, from the gateway's thread: be quick."""

    def replied(self, site: SiteId, node: int) -> None:
        """A reply of a site lies at the SuperLink, all objects included."""


class Gateway:
    """A gRPC server in a thread of its own.

    It looks at the store twice a second, so rosters, studies and revocations of other processes reach the agents
    without a call of :meth:`announce`.

    Args:
        consortium: Who answers, and whose settings hold.
        superlink: The SuperLink; it may be another one later, or not run.
        hooks: Whom to tell.
        listen: ``host:port``, port 0 for any; None: that of the settings.
        clock: Seconds since 1970.
        alive: Pause after which an agent is told that nothing happened, seconds.
    """

    def __init__(
        self,
        consortium: Consortium,
        superlink: SuperLinkLike,
        hooks: Hooks,
        *,
        listen: str | None = None,
        clock: Callable[[], float] = time.time,
        alive: float = ALIVE_SECONDS,
    ) -> None:
        self._consortium, self._superlink = consortium, superlink
        self._settings, store = consortium.settings.gateway, consortium.store
        self._listen = listen or consortium.settings.listen
        self._blocking = ThreadPoolExecutor(_WORKERS, "gateway")
        self._nodes, self._hub, self._presence = Nodes(superlink, store), Hub(alive), Presence(store, clock)
        self._tunnel = Tunnel(superlink, self._nodes, hooks.replied, self._blocking)
        self._transfers = Turnstile(TRANSFERS, time.monotonic)
        self._federation = Federation(
            consortium=consortium,
            superlink=superlink,
            nodes=self._nodes,
            hub=self._hub,
            bundle=bundle().sha256,
            clock=clock,
            blocking=self._blocking,
        )
        self._guard = Guard(
            callers=Callers(store, clock),
            quotas=Quotas(self._settings, time.monotonic),
            deadline=self._settings.deadline_seconds,
            entering=self._settings.streams,
            requests=Turnstile(REQUESTS, time.monotonic),
            blocking=self._blocking,
            heard=self._presence.heard,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self.port = 0

    def start(self) -> None:
        """Listen; returns when connections are taken.

        Raises:
            WardroundError: WR-1916, the port is taken; WR-1940, nothing can listen there for another reason.
        """
        if self._thread is not None:
            raise RuntimeError("the gateway runs already")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="gateway", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End all calls and the thread; again does nothing."""
        if self._thread is None:
            return
        self._later(self._stopping.set)
        self._thread.join()
        self._thread = None
        self._blocking.shutdown()

    def wake(self, nodes: Iterable[int]) -> None:
        """Tell the agents of these nodes that messages wait; any thread may call."""
        sites = [site for site in map(self._nodes.site, nodes) if site is not None]
        for site in sites:
            self._later(partial(self._hub.wake, site))

    def taken(self, node: int) -> None:
        """A reply of a node was fetched from the SuperLink, or is waited for no more; any thread may call."""
        site = self._nodes.site(node)
        if site is not None:
            self._later(partial(self._tunnel.taken, site))

    def announce(self, kind: EventKind) -> None:
        """Tell all agents; any thread may call."""
        self._later(partial(self._hub.announce, kind))

    def nodes(self) -> dict[SiteId, int]:
        """Node id of every member at the SuperLink that runs; nodes that it does not know yet are registered.

        Raises:
            WardroundError: WR-1922, the SuperLink does not run.
        """
        return self._nodes.all()

    def last_heard(self) -> dict[SiteId, float]:
        """When each site called last, seconds since 1970; only since this process began."""
        return self._presence.last()

    def counts(self) -> dict[str, int]:
        """``calls``, ``bytes`` that sites sent, and refusals by ``WR`` code, since this object was made."""
        return dict(self._guard.counts)

    @property
    def watching(self) -> frozenset[SiteId]:
        """Sites whose agent listens now."""
        return self._hub.watching

    def _later(self, work: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:  # start() raises it
            self._failure = error
            if not isinstance(error, WardroundError):
                log.exception("the gateway ended")
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        handlers = _Handlers(self._handlers(), self._guard)
        server = grpc.aio.server(handlers=[handlers], options=self._options(), maximum_concurrent_rpcs=_MOST_CALLS)
        try:
            self.port = server.add_secure_port(self._listen, Trust(self._consortium).credentials())
        except RuntimeError:
            raise why_not(self._listen) from None
        await server.start()
        looking = asyncio.create_task(self._look())
        ready.set()
        try:
            await self._stopping.wait()
        finally:
            looking.cancel()
            self._hub.close()
            await server.stop(_STOP_SECONDS)
            await self._tunnel.close()

    async def _look(self) -> None:
        """Notice what other processes did to the store, and another SuperLink; note who was heard."""
        loop, before = asyncio.get_running_loop(), await self._state()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                now = await self._state(before)
                await loop.run_in_executor(self._blocking, self._presence.note)
            except WardroundError as error:  # the database may come back
                log.warning("the store cannot be looked at: %s", error.what)
                continue
            for kind in now.news(before):
                self._hub.announce(kind)
            if now.version != before.version:
                self._hub.stir()
                gone = before.members - now.members
                await asyncio.gather(*(loop.run_in_executor(self._blocking, self._nodes.forget, site) for site in gone))
            before = now

    async def _state(self, before: State | None = None) -> State:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._blocking, read_state, self._consortium.store, self._superlink, before)

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        largest = {"PushObject": self._settings.max_message_mb << 20, "PushMessages": _ANNOUNCEMENT}
        large = dict.fromkeys(("PullObject", "PushObject"), self._transfers)
        fleet = {
            FLEET_PREFIX + name: self._guard.member(
                partial(self._fleet, name), largest.get(name, _SMALL), large.get(name)
            )
            for name in FLEET_CALLS
        }
        health = self._guard.member(self._health, _SMALL)
        return {**fleet, **self._federation.handlers(self._guard), HEALTH: health}

    async def _fleet(self, name: str, caller: Member, body: bytes, metadata: Metadata) -> bytes:
        self._federation.speaks(caller.site)
        return await self._tunnel.call(name, caller, body, metadata)

    async def _health(self, _caller: Member, body: bytes, _metadata: Metadata) -> bytes:
        try:
            asked = health_pb2.HealthCheckRequest.FromString(body)
        except DecodeError:
            raise WardroundError("WR-1902", "The request of Check is malformed.") from None
        answer = health_pb2.HealthCheckResponse
        state = answer.SERVING if self._superlink.running else answer.NOT_SERVING
        known = asked.service in ("", SERVICE.strip("/"))
        content: bytes = answer(status=state if known else answer.SERVICE_UNKNOWN).SerializeToString()
        return content

    def _options(self) -> list[tuple[str, int]]:
        largest = (self._settings.max_message_mb << 20) + _SMALL  # content and its frame
        return [
            ("grpc.max_receive_message_length", largest),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", 16 << 10),
            ("grpc.max_concurrent_streams", 2 * self._settings.streams),
            ("grpc.http2.bdp_probe", 0),  # it would widen what is held of bodies that nobody reads yet
            ("grpc.so_reuseport", 0),
            ("grpc.experimental.tcp_max_read_buffer_size", 128 << 10),  # a connection keeps it, 4 MB without a bound
            ("grpc.server_handshake_timeout_ms", 20_000),
            ("grpc.max_connection_idle_ms", 600_000),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a method; whatever is not in the list is refused with a reason."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler], guard: Guard) -> None:
        self._handlers, self._guard = handlers, guard

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handlers.get(details.method) or self._guard.unknown(details.method)
