"""The door of the SuperLink's HTTP interface, which by itself lets every account of the machine start runs and nodes.

Flower 1.41 can ask nobody for a name there without its commercial part. So what it serves is wrapped: a request has to
show a word that the coordinator's process made for this start. Without it there is the health check, and the Runtime
API, whose calls show a token of their own.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    import httpx
    from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    Application = Callable[[Event, Receive, Send], Awaitable[None]]

HEADER: Final = "wardround-door"
HEALTH: Final = "/health"
RUNTIME: Final = "/v1/runtime/"


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
        """Pass on what may pass; all else is answered with 401."""
        if scope["type"] == "lifespan" or self._may_pass(scope):
            await self._inside(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    def _may_pass(self, scope: Event) -> bool:
        if scope["type"] != "http":
            return False
        shown = dict(scope["headers"]).get(HEADER.encode(), b"")
        path = scope["path"]
        return path == HEALTH or path.startswith(RUNTIME) or hmac.compare_digest(shown, self._word)


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
