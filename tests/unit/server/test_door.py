"""What the door lets in, with bodies as they come."""

from __future__ import annotations

import asyncio

import pytest

from wardround.server.flower.door import HEADER, HEALTH, LARGEST, RUNTIME, Door

WORD, PIECE = "word", 1 << 20
TOKEN, OWN = {"flwr-task-token": "t"}, {HEADER: WORD}
PUSH, START = RUNTIME + "push-object", "/v1/control/start-run"


def asked(path: str, headers: dict[str, str], pieces: int, told: int | None = None) -> tuple[int, int]:
    """The status, and how many bytes came in; 0: it was hung up on."""
    came, said = 0, []

    async def inside(_scope: object, receive: object, send: object) -> None:
        nonlocal came
        while True:
            event = await receive()  # type: ignore[operator]
            if event["type"] == "http.disconnect":
                return
            came += len(event["body"])
            if not event["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]

    left = pieces

    async def receive() -> dict[str, object]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": b"x" * PIECE, "more_body": left > 0}

    async def send(event: object) -> None:
        said.append(event)

    shown = headers if told is None else {**headers, "content-length": str(told)}
    scope = {"type": "http", "path": path, "headers": [(name.encode(), each.encode()) for name, each in shown.items()]}
    asyncio.run(Door(inside, WORD)(scope, receive, send))  # type: ignore[arg-type]
    return (said[0]["status"] if said else 0), came


@pytest.mark.parametrize(
    ("path", "headers"),
    [(PUSH, {}), (PUSH, {"flwr-task-token": ""}), (START, {}), (START, TOKEN), (START, {HEADER: "x"})],
)
def test_nothing_is_read_of_who_shows_nothing(path: str, headers: dict[str, str]) -> None:
    assert asked(path, headers, 1) == (401, 0)
    assert asked(path, {**headers, **OWN}, 1) == (200, PIECE)  # the control


@pytest.mark.parametrize(("path", "headers"), [(PUSH, TOKEN), (START, OWN), (HEALTH, {})])
def test_no_more_is_read_than_a_call_has(path: str, headers: dict[str, str]) -> None:
    most = LARGEST // PIECE
    assert asked(path, headers, most) == (200, LARGEST)
    assert asked(path, headers, most, LARGEST) == (200, LARGEST)
    assert asked(path, headers, most + 9, LARGEST + 1) == (413, 0)
    assert asked(path, headers, most + 9) == (0, LARGEST)
