"""The door of the SuperLink's HTTP interface, which by itself lets every account of the machine start runs and nodes.

Flower 1.41 can ask nobody for a name there without its commercial part. So what it serves is wrapped: a request has to
show a word that the coordinator's process made for this start. Without it there is the health check, and the Runtime
API, whose calls show a token of their own. Behind the door a body is read whole before anybody looks at the token, so
one without a token, or larger than any call has, is refused here.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    import httpx
    from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    Application = Callable[[Event, Receive, Send], Awaitable[None]]

HEADER: Final = "wardround-door"
HEALTH: Final = "/health"
RUNTIME: Final = "/v1/runtime/"
TOKENS: Final = (b"flwr-task-token", b"flwr-superexec-signature")
"""One of them comes with every call of the Runtime API."""

LARGEST: Final = 32 << 20
"""Bytes of a body; parts of messages have at most 5 MiB."""


def word_of(secret: bytes) -> str:
    """What opens the door, made of the secret of a SuperLink's start."""
    return hmac.new(secret, b"wardround-door", "sha256").hexdigest()


class Door:
    """An ASGI application around another one.

    Args:
        inside: What is behind the door.
        word: What opens it.
    """

    def __init__(self, inside: Application, word: str) -> None:
        self._inside, self._word = inside, word.encode()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Pass on what may pass; all else is answered with 401, or 413 where the body is too large."""
        if scope["type"] == "lifespan":
            await self._inside(scope, receive, send)
        elif scope["type"] == "http":
            headers = dict(scope["headers"])
            if not self._may_pass(scope["path"], headers):
                await _refuse(send, 401)
            elif not _fits(headers.get(b"content-length", b"0")):
                await _refuse(send, 413)
            else:
                await self._inside(scope, _bounded(receive), send)

    def _may_pass(self, path: str, headers: Mapping[bytes, bytes]) -> bool:
        if path == HEALTH or hmac.compare_digest(headers.get(HEADER.encode(), b""), self._word):
            return True
        return path.startswith(RUNTIME) and any(headers.get(name) for name in TOKENS)


def _fits(told: bytes) -> bool:
    return told.isdigit() and len(told) <= len(str(LARGEST)) and int(told) <= LARGEST


def _bounded(receive: Receive) -> Receive:
    """Hang up where more of a body comes than fits; its length need not have been told."""
    left = LARGEST

    async def bounded() -> Event:
        nonlocal left
        event = await receive()
        left -= len(event.get("body", b""))
        return event if left >= 0 else {"type": "http.disconnect"}

    return bounded


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b""})


class Knock:
    """Shows the word: for the clients of the Control API.

    Args:
        word: What opens the door.
    """

    def __init__(self, word: str) -> None:
        self._word = word

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the header."""
        context.request.headers[HEADER] = self._word
        return call_next(context)
