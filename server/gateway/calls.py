"""Around every call: who, how much, how long; and what a refusal looks like on the wire.

A call counts from its headers on. Its body is read when it is known whose it is and that it is within the caller's
quotas, and only a few at a time: what gRPC holds of a body that is not read is 64 kB. A body lives no longer than its
call: a call is ended outside the frames that hold one, because gRPC keeps the exception that ends it. On the wire every
call here is what its caller takes it for, one request and one answer, or one request and a stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from wardround.common.errors import WardroundError
from wardround.server.gateway.callers import Invited, Member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
    from concurrent.futures import Executor
    from contextlib import AbstractAsyncContextManager

    from wardround.common.ids import SiteId
    from wardround.server.gateway.callers import Callers
    from wardround.server.gateway.quotas import Quotas
    from wardround.server.gateway.turnstile import Pass, Turnstile

    Metadata = Mapping[str, str | bytes]
    MemberWork = Callable[[Member, bytes, Metadata], Awaitable[bytes]]
    Stream = Callable[[Member], AsyncIterator[bytes | None]]
    InvitedWork = Callable[[Invited, bytes], Awaitable[bytes]]
    Call = Callable[[grpc.aio.ServicerContext], Awaitable[None]]

R = TypeVar("R")

log = logging.getLogger("wardround.gateway")

_CODE: Final = grpc.StatusCode
STATUS: Final = {
    "WR-1902": _CODE.INVALID_ARGUMENT,
    "WR-1905": _CODE.UNAUTHENTICATED,
    "WR-1908": _CODE.FAILED_PRECONDITION,
    "WR-1909": _CODE.PERMISSION_DENIED,
    "WR-1910": _CODE.RESOURCE_EXHAUSTED,
    "WR-1915": _CODE.UNAVAILABLE,
    "WR-1922": _CODE.UNAVAILABLE,
}
"""gRPC status of a refusal; of all others FAILED_PRECONDITION. Agents read the ``WR`` code, this is for other tools."""

BODY_SECONDS: Final = 20.0
"""How long the body of a call may take that is not a large one."""

_MOST_WORDS: Final = 500
_LOG_SECONDS: Final = 1.0
"""A refusal is logged at most so often for each code; all are counted."""


class Guard:
    """Makes gRPC handlers of functions that do the work, and counts: ``calls``, their ``bytes``, refusals by code.

    Args:
        callers: Know who is calling.
        quotas: Of every caller.
        deadline: Longest time that a call may take, seconds; streams excepted.
        entering: Calls under one certificate that may wait at a time for it to be looked up.
        requests: Where bodies of calls are read that are not large ones.
        blocking: Runs what waits for the database.
        heard: Told which site called.
    """

    def __init__(
        self,
        *,
        callers: Callers,
        quotas: Quotas,
        deadline: float,
        entering: int,
        requests: Turnstile,
        blocking: Executor,
        heard: Callable[[SiteId], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._callers, self._quotas, self._requests = callers, quotas, requests
        self._logged: dict[str, float] = {}
        self._deadline, self._body_seconds = deadline, min(BODY_SECONDS, deadline)
        self._blocking, self._heard = blocking, heard
        self._most_entering, self._entering = entering, Counter[bytes]()

    async def caller(self, context: grpc.aio.ServicerContext) -> Member | Invited:
        """Who is calling, as the store knows it now.

        Raises:
            WardroundError: WR-1905, the certificate is not, or no longer, one of this consortium; WR-1910, too many
                calls under it came at once.
        """
        properties = context.auth_context()
        shown = next(iter(properties.get("x509_pem_cert", ())), b"")
        if self._entering[shown] >= self._most_entering:
            raise WardroundError("WR-1910", f"{self._entering[shown]} calls came at the same time.")
        self._entering[shown] += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._blocking, self._callers.identify, properties)
        finally:
            self._entering[shown] -= 1
            if not self._entering[shown]:
                del self._entering[shown]

    def member(self, work: MemberWork, most: int, large: Turnstile | None = None) -> grpc.RpcMethodHandler:
        """A call that is open to members.

        Args:
            work: Gets the caller, the request and the call's metadata; gives the reply.
            most: Bytes of the request.
            large: Where calls wait whose request or answer is large, until both are through.
        """

        async def call(context: grpc.aio.ServicerContext) -> None:
            caller = await self._member(context)
            with self._quotas.use(caller.name):
                around: AbstractAsyncContextManager[Pass | None] = (
                    nullcontext() if large is None else large.through(caller.name)
                )
                async with _in_time(around, self._deadline) as inside:
                    body = await self._body(context, caller, most, caller.name if large is None else None)
                    if large is not None and inside is not None:
                        large.move(inside)
                    metadata = dict(context.invocation_metadata() or ())
                    async with asyncio.timeout(self._deadline):
                        answer = await work(caller, body, metadata)
                    del body
                    await _within(context.write(answer), self._deadline)

        return grpc.stream_stream_rpc_method_handler(self._safe(call))

    def invited(self, work: InvitedWork, most: int) -> grpc.RpcMethodHandler:
        """A call that is open to holders of an invite, one at a time."""

        async def call(context: grpc.aio.ServicerContext) -> None:
            caller = await self.caller(context)
            if not isinstance(caller, Invited):
                raise WardroundError("WR-1909", "Enrolment is for those who hold an invite.")
            with self._quotas.use(caller.name, at_once=1):
                body = await self._body(context, caller, most, caller.name)
                async with asyncio.timeout(self._deadline):
                    answer = await work(caller, body)
                await _within(context.write(answer), self._deadline)

        return grpc.stream_stream_rpc_method_handler(self._safe(call))

    def stream(self, follow: Stream, most: int) -> grpc.RpcMethodHandler:
        """A stream to a member, whose certificate is looked at before each event; None: only look at it."""

        async def call(context: grpc.aio.ServicerContext) -> None:
            caller = await self._member(context)
            with self._quotas.use(caller.name):
                await self._body(context, caller, most, caller.name)
                async for event in follow(caller):
                    await self.caller(context)
                    if event is not None:
                        await _within(context.write(event), self._deadline)

        return grpc.stream_stream_rpc_method_handler(self._safe(call))

    def unknown(self, method: str) -> grpc.RpcMethodHandler:
        """What is open to nobody."""

        async def call(context: grpc.aio.ServicerContext) -> None:
            caller = await self.caller(context)
            with self._quotas.use(caller.name):
                log.info("%s called %s, which is not open", caller.name, method[:100])
                raise WardroundError("WR-1909", "The gateway has no such call.")

        return grpc.stream_stream_rpc_method_handler(self._safe(call, {"WR-1909": _CODE.UNIMPLEMENTED}))

    async def _member(self, context: grpc.aio.ServicerContext) -> Member:
        caller = await self.caller(context)
        if not isinstance(caller, Member):
            raise WardroundError("WR-1909", "An invite is good for enrolment alone.")
        self._heard(caller.site)
        return caller

    async def _body(
        self, context: grpc.aio.ServicerContext, caller: Member | Invited, most: int, queue: str | None
    ) -> bytes:
        """Read and count a call's request.

        Args:
            context: The call.
            caller: Whose it is.
            most: Bytes of the request.
            queue: In whose name it waits to be read; None: it has waited already, for a large call.
        """
        if queue is None:
            body = await _within(context.read(), self._deadline)
        else:
            async with _in_time(self._requests.through(queue), self._deadline):
                body = await _within(context.read(), self._body_seconds)
        if not isinstance(body, bytes):
            raise WardroundError("WR-1902", "The call has no request.")
        if len(body) > most:
            size = len(body)
            del body
            self._quotas.take(caller.name, size)
            raise WardroundError("WR-1910", f"The request has {size} bytes; {most} are allowed.")
        self.counts["calls"] += 1
        self.counts["bytes"] += len(body)
        self._quotas.take(caller.name, len(body))
        return body

    def _safe(self, call: Call, status: Mapping[str, grpc.StatusCode] = STATUS) -> Callable[..., Awaitable[None]]:
        """Turn refusals into gRPC statuses, and what only a bug can cause into INTERNAL without words of its own."""

        async def ended(context: grpc.aio.ServicerContext) -> tuple[grpc.StatusCode, str] | None:
            try:
                await call(context)
            except WardroundError as error:
                self._refused(error)
                return status.get(error.code, _CODE.FAILED_PRECONDITION), f"{error.code}: {error.what[:_MOST_WORDS]}"
            except TimeoutError:
                return _CODE.DEADLINE_EXCEEDED, "WR-1910: The call took too long."
            except Exception:
                log.exception("a call failed")
                return _CODE.INTERNAL, "the coordinator failed; its log says why"
            return None

        async def safe(_requests: object, context: grpc.aio.ServicerContext) -> None:
            refusal = await ended(context)
            if refusal is not None:
                await context.abort(*refusal)

        return safe

    def _refused(self, error: WardroundError) -> None:
        self.counts[error.code] += 1
        now = time.monotonic()
        if now >= self._logged.get(error.code, now - _LOG_SECONDS) + _LOG_SECONDS:
            self._logged[error.code] = now
            log.warning("call refused: %s: %s", error.code, error.what[:_MOST_WORDS])


@asynccontextmanager
async def _in_time(around: AbstractAsyncContextManager[R], seconds: float) -> AsyncIterator[R]:
    """Enter within so many seconds.

    Raises:
        TimeoutError: It was not possible.
    """
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(seconds):
            entered = await stack.enter_async_context(around)
        yield entered


async def _within(transfer: Coroutine[object, object, R], seconds: float) -> R:
    """What a read or a write of a call gives.

    One that takes too long is not cancelled, because gRPC's core still has its buffers: it ends with the call, which
    whoever raises this ends.

    Raises:
        TimeoutError: It took too long.
    """
    task = asyncio.ensure_future(transfer)
    task.add_done_callback(_heed)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        del task  # else its failure holds this frame and this frame the failure, with all that was to be sent


def _heed(task: asyncio.Task[R]) -> None:
    """Nobody waits for the failure of a transfer whose call has ended."""
    if not task.cancelled():
        task.exception()
