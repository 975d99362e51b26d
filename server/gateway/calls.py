"""Around every call: who, how much, how long; and what a refusal looks like on the wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import grpc

from wardround.common.errors import WardroundError
from wardround.server.gateway.callers import Invited, Member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from wardround.common.ids import SiteId
    from wardround.server.gateway.callers import Callers
    from wardround.server.gateway.quotas import Quotas

    Metadata = Mapping[str, str | bytes]
    MemberWork = Callable[[Member, bytes, Metadata], Awaitable[bytes]]
    Stream = Callable[[Member], AsyncIterator[bytes | None]]
    InvitedWork = Callable[[Invited, bytes], Awaitable[bytes]]

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

_MOST_WORDS: Final = 500
_LOG_SECONDS: Final = 1.0
"""A refusal is logged at most so often for each code; all are counted."""


async def refuse(context: grpc.aio.ServicerContext, error: WardroundError) -> NoReturn:
    """End a call with a refusal."""
    status = STATUS.get(error.code, _CODE.FAILED_PRECONDITION)
    await context.abort(status, f"{error.code}: {error.what[:_MOST_WORDS]}")
    raise AssertionError


class Guard:
    """Makes gRPC handlers of functions that do the work, and counts: ``calls``, their ``bytes``, refusals by code.

    Args:
        callers: Know who is calling.
        quotas: Of every caller.
        deadline: Longest time that a call may take, seconds; streams excepted.
        blocking: Runs what waits for the database.
        heard: Told which site called.
    """

    def __init__(
        self,
        *,
        callers: Callers,
        quotas: Quotas,
        deadline: float,
        blocking: Executor,
        heard: Callable[[SiteId], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._callers, self._quotas = callers, quotas
        self._logged: dict[str, float] = {}
        self._deadline, self._blocking, self._heard = deadline, blocking, heard

    async def caller(self, context: grpc.aio.ServicerContext) -> Member | Invited:
        """Who is calling, as the store knows it now.

        Raises:
            WardroundError: WR-1905, the certificate is not, or no longer, one of this consortium.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._blocking, self._callers.identify, context.auth_context())

    def member(self, work: MemberWork, most: int) -> grpc.RpcMethodHandler:
        """A call that is open to members.

        Args:
            work: Gets the caller, the request and the call's metadata; gives the reply.
            most: Bytes of the request.
        """

        async def call(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            caller = await self._member(context)
            with self._counted(caller, body, most):
                metadata = dict(context.invocation_metadata() or ())
                return await asyncio.wait_for(work(caller, body, metadata), self._deadline)

        return grpc.unary_unary_rpc_method_handler(self._safe(call))

    def invited(self, work: InvitedWork, most: int) -> grpc.RpcMethodHandler:
        """A call that is open to holders of an invite."""

        async def call(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            caller = await self.caller(context)
            if not isinstance(caller, Invited):
                raise WardroundError("WR-1909", "Enrolment is for those who hold an invite.")
            with self._counted(caller, body, most):
                return await asyncio.wait_for(work(caller, body), self._deadline)

        return grpc.unary_unary_rpc_method_handler(self._safe(call))

    def stream(self, follow: Stream, most: int) -> grpc.RpcMethodHandler:
        """A stream to a member, whose certificate is looked at before each event; None: only look at it."""

        async def call(body: bytes, context: grpc.aio.ServicerContext) -> None:
            caller = await self._member(context)
            with self._counted(caller, body, most):
                async for event in follow(caller):
                    await self.caller(context)
                    if event is not None:
                        await context.write(event)

        return grpc.unary_stream_rpc_method_handler(self._safe(call))

    def unknown(self, method: str) -> grpc.RpcMethodHandler:
        """What is open to nobody."""

        async def call(_body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            caller = await self.caller(context)
            error = WardroundError("WR-1909", "The gateway has no such call.")
            self._refused(error)
            log.info("%s called %s, which is not open", caller.name, method[:100])
            await context.abort(_CODE.UNIMPLEMENTED, f"{error.code}: {error.what}")
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(self._safe(call))

    async def _member(self, context: grpc.aio.ServicerContext) -> Member:
        caller = await self.caller(context)
        if not isinstance(caller, Member):
            raise WardroundError("WR-1909", "An invite is good for enrolment alone.")
        self._heard(caller.site)
        return caller

    def _counted(self, caller: Member | Invited, body: bytes, most: int) -> AbstractContextManager[None]:
        if len(body) > most:
            raise WardroundError("WR-1910", f"The request has {len(body)} bytes; {most} are allowed.")
        self.counts["calls"] += 1
        self.counts["bytes"] += len(body)
        return self._quotas.use(caller.name, len(body))

    def _safe(self, call: Callable[[bytes, grpc.aio.ServicerContext], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        """Turn refusals into gRPC statuses, and what only a bug can cause into INTERNAL without words of its own."""

        async def safe(body: bytes, context: grpc.aio.ServicerContext) -> R:
            try:
                return await call(body, context)
            except WardroundError as error:
                self._refused(error)
                return await refuse(context, error)
            except TimeoutError:
                await context.abort(_CODE.DEADLINE_EXCEEDED, "WR-1910: The call took too long.")
                raise
            except grpc.aio.AbortError:
                raise
            except Exception:
                log.exception("a call failed")
                await context.abort(_CODE.INTERNAL, "the coordinator failed; its log says why")
                raise

        return safe

    def _refused(self, error: WardroundError) -> None:
        self.counts[error.code] += 1
        now = time.monotonic()
        if now >= self._logged.get(error.code, now - _LOG_SECONDS) + _LOG_SECONDS:
            self._logged[error.code] = now
            log.warning("call refused: %s: %s", error.code, error.what[:_MOST_WORDS])
