"""Flower's Fleet calls of the caller's own node, and nothing else of Flower.

The SuperLink trusts what a node writes about itself: it takes a message from any sender to any receiver, and hands out
and deletes any object whose id is named. So it is checked here that a call is in the name of the certificate's node,
that replies answer messages which that node was given, and that objects belong to such messages or replies.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import grpc

from wardround.common.errors import WardroundError
from wardround.server.flower import (
    FLEET_PREFIX,
    NODE_HEADERS,
    NODE_KEY_HEADER,
    SUPERLINK_NODE,
    TIME_HEADER,
    count_objects,
    read_expected,
    read_fleet_call,
    read_offered,
    read_stored,
)
from wardround.server.gateway.held import Held
from wardround.server.gateway.turnstile import Limits, Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from wardround.common.ids import SiteId
    from wardround.server.flower import FleetCall
    from wardround.server.gateway.callers import Member
    from wardround.server.gateway.calls import Metadata
    from wardround.server.gateway.nodes import Nodes, SuperLinkLike
    from wardround.server.gateway.turnstile import Pass

MOST_OBJECTS: Final = 65_536
"""Objects of one reply."""

MOST_ANNOUNCED: Final = 4
"""Announcements of one site that may wait at a time; it has use for one."""

COUNTING: Final = Limits(width=1, each=1, most=1, patience=60.0)
"""One announcement's objects are counted at a time, beside the loop; sites take turns."""

REPLIES: Final = Limits(width=4, each=2, most=4096, patience=5.0, longest=30.0, slow=300.0)
"""How many replies lie at the SuperLink at a time, or are on their way to it."""

FETCHED_SECONDS: Final = 10.0
"""For how long a reply counts that is whole and was not fetched: its run works on another one, or has ended. One to a
message that is not open any more does not count at all: nobody will fetch it."""

HELD_SECONDS: Final = 120.0
"""For how long the announcement of a reply is held back at most: the SuperLink takes its time stamp for 300 seconds."""

_SECONDS: Final = 60.0
"""A call to the SuperLink on loopback."""

_CODE: Final = grpc.StatusCode
_OVER: Final = "WR-1923"


class Tunnel:
    """Passes calls on to the SuperLink that runs now. Used in the gateway's loop.

    Args:
        superlink: The SuperLink.
        nodes: Whose node is whose.
        whole: Called with site and node id when a reply lies at the SuperLink, all objects included.
        blocking: Runs what waits for the SuperLink's registration of nodes.
    """

    def __init__(
        self,
        superlink: SuperLinkLike,
        nodes: Nodes,
        whole: Callable[[SiteId, int], None],
        blocking: Executor,
    ) -> None:
        self._superlink, self._nodes, self._whole, self._blocking = superlink, nodes, whole, blocking
        self._incarnation = ""
        self._channel: grpc.aio.Channel | None = None
        self._held: dict[int, Held] = {}
        self._replies, self._counting = Turnstile(REPLIES, time.monotonic), Turnstile(COUNTING, time.monotonic)
        self._arriving: dict[SiteId, Pass] = {}

    async def call(self, name: str, caller: Member, body: bytes, metadata: Metadata) -> bytes:
        """Pass one of :data:`wardround.server.flower.FLEET_CALLS` on and give the SuperLink's answer.

        Raises:
            WardroundError: WR-1902, malformed; WR-1909, in the name of another node, or about what is not the
                caller's; WR-1910, too many objects; WR-1922, the SuperLink does not run; WR-1923, the run is over.
        """
        if metadata.get(NODE_KEY_HEADER) != caller.node_key:
            raise WardroundError("WR-1909", "The call is signed by the node key of another site, or by none.")
        _check_time(metadata.get(TIME_HEADER))
        try:
            asked = read_fleet_call(name, body)
        except ValueError:
            raise WardroundError("WR-1902", f"The request of {name} is malformed.") from None
        if name == "PushMessages":
            held = await self._entitled(name, caller, asked)
            if asked.replies[0][2] not in held.open:
                self._replies.slow(caller.site)
            await self._counted(caller.site, body)
            await self._announced(caller.site)
        try:
            return await self._called(name, caller, asked, body, metadata)
        except BaseException:
            if name == "PushMessages":
                self.taken(caller.site)
            raise

    def taken(self, site: SiteId) -> None:
        """The reply of a site is fetched, or will not be: the next one may come."""
        entered = self._arriving.pop(site, None)
        if entered is not None:
            self._replies.leave(entered)

    async def _counted(self, site: SiteId, body: bytes) -> None:
        """Refuse an announcement with more objects than a reply has, or beside too many of the site that wait."""
        if self._counting.waiting(site) + self._replies.waiting(site) >= MOST_ANNOUNCED:
            raise WardroundError("WR-1910", f"{MOST_ANNOUNCED} announcements of this site wait already.")
        async with self._counting.through(site):
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._blocking, count_objects, body, MOST_OBJECTS)
            except ValueError:
                raise WardroundError("WR-1902", "The request of PushMessages is malformed.") from None
        if found > MOST_OBJECTS:
            raise WardroundError("WR-1910", f"A reply has more than {MOST_OBJECTS} objects.")

    async def _announced(self, site: SiteId) -> None:
        """Hold the announcement of a reply back until there is room for its objects at the SuperLink."""
        self.taken(site)  # one that it has begun before is over
        try:
            async with asyncio.timeout(HELD_SECONDS):
                entered = await self._replies.enter(site)
        except TimeoutError:
            entered = self._replies.let_in(site)
        self.taken(site)
        self._arriving[site] = entered

    def _moved(self, site: SiteId, patience: float | None = None) -> None:
        entered = self._arriving.get(site)
        if entered is not None:
            self._replies.move(entered, patience)

    async def _entitled(self, name: str, caller: Member, asked: FleetCall) -> Held:
        """What the caller's node has a right to, if that is enough for the call."""
        node = self._nodes.known(caller.site, caller.node_key)
        if node is None:
            loop = asyncio.get_running_loop()
            node = await loop.run_in_executor(self._blocking, self._nodes.of, caller.site, caller.node_key)
        if asked.node != node:
            raise WardroundError("WR-1909", "The call is in the name of another site's node.")
        self._renew()
        held = self._held.setdefault(node, Held())
        _check(name, asked, held)
        return held

    async def _called(self, name: str, caller: Member, asked: FleetCall, body: bytes, metadata: Metadata) -> bytes:
        held = await self._entitled(name, caller, asked)
        try:
            answer = await self._pass_on(name, body, metadata)
        except WardroundError as error:
            if error.code == _OVER:
                held.forget(asked.object)
            raise
        if name == "PullMessages":
            found = read_offered(answer)
            if found is not None:
                self.taken(caller.site)
            return held.offer(asked.held, answer, found)
        whole = _note(name, asked, held, answer)
        if whole is not None:
            self._moved(caller.site, FETCHED_SECONDS)
            if not whole:
                self.taken(caller.site)
            self._whole(caller.site, asked.node)
        elif name == "PushObject":
            self._moved(caller.site)
        return answer

    async def close(self) -> None:
        """Close the connection to the SuperLink."""
        if self._channel is not None:
            await self._channel.close()

    def _renew(self) -> None:
        """Begin anew where another SuperLink runs than before."""
        if self._superlink.incarnation == self._incarnation and self._channel is not None:
            return
        self._incarnation, self._held = self._superlink.incarnation, {}
        for site in tuple(self._arriving):
            self.taken(site)
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        credentials = grpc.ssl_channel_credentials(self._superlink.root)
        self._channel = grpc.aio.secure_channel(self._superlink.fleet_address, credentials, options=options)

    async def _pass_on(self, name: str, body: bytes, metadata: Metadata) -> bytes:
        channel = self._channel
        if channel is None:
            raise RuntimeError("not connected")
        headers = [(key, metadata[key]) for key in NODE_HEADERS if key in metadata]
        try:
            answer: bytes = await channel.unary_unary(FLEET_PREFIX + name)(body, metadata=headers, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _refusal(error.code()) from error
        return answer


def _note(name: str, asked: FleetCall, held: Held, answer: bytes) -> bool | None:
    """Remember what an answer gives the node a right to; of a reply that became whole by it, as :meth:`Held.whole`."""
    if name == "ConfirmMessageReceived":
        held.open.pop(asked.object, None)
    elif name == "PushMessages":
        session, wanted = read_expected(answer)
        held.expected[session] = (asked.replies[0][2], set(wanted))
        held.trim()
        return held.whole(session)
    elif name == "PushObject" and read_stored(answer):
        return held.stored(asked.session, asked.object)
    return None


def _check_time(stamp: str | bytes | None) -> None:
    """Refuse what the SuperLink would stumble over; whether it is the time now, and who signed it, it checks itself."""
    try:
        zone = datetime.fromisoformat(stamp).tzinfo if isinstance(stamp, str) else None
    except ValueError:
        zone = None
    if zone is None:
        raise WardroundError("WR-1909", "The call has no time, or one without a zone.")


def _check(name: str, asked: FleetCall, held: Held) -> None:
    if name == "PushMessages":
        if len(asked.replies) != 1:
            raise WardroundError("WR-1902", "A push has one message.")
        source, destination, answered = asked.replies[0]
        if (source, destination) != (asked.node, SUPERLINK_NODE):
            raise WardroundError("WR-1909", "A message is in the name of another node, or to another site.")
        if answered not in held.offered:
            raise WardroundError("WR-1909", "A message answers none that this site was given.")
    elif name == "PushObject" and not held.expects(asked.session, asked.object):
        raise WardroundError("WR-1909", "An object belongs to no reply of this site.")
    elif name == "PullObject" and not any(asked.object in objects for objects in held.offered.values()):
        raise WardroundError("WR-1909", "An object belongs to no message for this site.")
    elif name == "ConfirmMessageReceived" and asked.object not in held.offered:
        raise WardroundError("WR-1909", "A message that is confirmed was not for this site.")


def _refusal(status: grpc.StatusCode) -> WardroundError:
    if status == _CODE.UNAUTHENTICATED:
        fix = "The clock of one of both machines is wrong by minutes, or the node key changed: restart the agent."
        return WardroundError("WR-1909", "The node's signature or its time is not valid.", fix=fix)
    if status in (_CODE.FAILED_PRECONDITION, _CODE.NOT_FOUND, _CODE.PERMISSION_DENIED):
        return WardroundError(_OVER, "There is no such run, or it is over.")
    return WardroundError("WR-1922", f"The SuperLink failed ({status.name}).")
