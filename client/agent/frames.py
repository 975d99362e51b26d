"""What passes between the agent and its worker: frames over a socket pair.

A frame is one letter, the lengths of a header and of a body (8 bytes each, little-endian), the header (JSON) and the
body (the raw bytes of a message's vector). Nothing is unpickled, and a vector is copied once on either side.

======  ==========================================  ====================================================
letter  header                                      meaning
======  ==========================================  ====================================================
``R``   :class:`Ready`                              worker: imported, and this is the processor
``Q``   :class:`Question`                           agent: answer this message
``A``   :class:`Reply`                              worker: the answer
``S``   a study's id                                agent: how large is what this approved study sends?
``L``   names and shapes, or a refusal              worker: its model's layout
======  ==========================================  ====================================================
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

READY: Final = b"R"
QUESTION: Final = b"Q"
REPLY: Final = b"A"
SIZES: Final = b"S"
LAYOUT: Final = b"L"

MAX_HEADER: Final = 16 << 20
MAX_BODY: Final = 1 << 31
"""Flower's own messages, protobuf, can hold no more."""

MAX_WORD: Final = 64
"""Characters of a word that describes a vector."""

MAX_DIMENSIONS: Final = 8
"""Of a vector; those of this release have one."""

_HEAD: Final = struct.Struct("<cQQ")

Scalar: TypeAlias = bool | int | float | str | bytes
Fields: TypeAlias = "Mapping[str, Scalar | list[Any]]"


@dataclass(frozen=True, slots=True)
class VectorForm:
    """How the bytes of a vector are to be read: Flower's description of an array."""

    dtype: str
    shape: tuple[int, ...]
    stype: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has started.

    Attributes:
        device: ``cpu`` or ``cuda``; ``none``: see ``refused``.
        description: Of the processor, for people here.
        refused: Code of the refusal, where the configured processor is not there.
    """

    device: str
    description: str = ""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A message from the coordinator.

    Attributes:
        kind: Flower's message type.
        run: Flower's id of the run; nothing at the hospital depends on it.
        fields: The message's fields.
        vector: Of the body; None: there is none.
        heads: What witnesses of the privacy ledger said just now, as JSON; None: nobody was asked.
    """

    kind: str
    run: int
    fields: Fields
    vector: VectorForm | None = None
    heads: list[dict[str, Any] | None] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's answer: fields and maybe a vector, or a reason.

    Attributes:
        fields: The reply's fields; None: it is refused.
        vector: Of the body; None: there is none.
        reason: Why there is no answer: a ``WR`` code, a colon and a sentence.
        head: Where the privacy ledger stands since, signed, as JSON; None: as before.
        epsilon: What the run has cost a patient so far at most, where this reply is paid for; None: it is not.
    """

    fields: Fields | None = None
    vector: VectorForm | None = None
    reason: str | None = None
    head: dict[str, Any] | None = None
    epsilon: float | None = None


def send(connection: socket.socket, letter: bytes, header: object, body: bytes | memoryview = b"") -> None:
    """Write a frame.

    Args:
        connection: The socket.
        letter: What it is.
        header: A value that JSON holds, or one of this module's classes.
        body: Raw bytes.

    Raises:
        OSError: The other process is gone.
        WardroundError: WR-1301, it is longer than a frame may be, and nothing of it was written.
    """
    content = json.dumps(_plain(header), allow_nan=True).encode()
    if len(content) > MAX_HEADER or len(body) > MAX_BODY:
        raise WardroundError("WR-1301", "The fields or the vector of a message are larger than any message has.")
    connection.sendall(_HEAD.pack(letter, len(content), len(body)) + content)
    if len(body):
        connection.sendall(body)


def receive(connection: socket.socket) -> tuple[bytes, Any, bytearray]:
    """Read a frame: its letter, its header as JSON gives it, and its body.

    Raises:
        EOFError: The other process has closed its end.
        OSError: The other process is gone.
        ValueError: It is no frame, or too long; what comes after it cannot be read.
        WardroundError: WR-1301, its header cannot be read; the next frame can.
    """
    letter, header, body = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if header > MAX_HEADER or body > MAX_BODY:
        raise ValueError("a frame is too long")
    content, vector = _exactly(connection, header), _exactly(connection, body)
    try:
        return letter, json.loads(content, object_hook=_bytes), vector
    except (ValueError, RecursionError):
        raise WardroundError("WR-1301", "The header of a message cannot be read.") from None


def read_question(header: Any) -> Question:  # noqa: ANN401 - as it came
    """The question of a header.

    Raises:
        WardroundError: WR-1301, it is none.
    """
    if (
        not isinstance(header, dict)
        or header.keys() - {field.name for field in dataclass_fields(Question)}
        or not _is_question(header)
    ):
        raise WardroundError("WR-1301", "The header of a message is none of a question.")
    return Question(**{**header, "vector": _form(header.get("vector"))})


def read_reply(header: Mapping[str, Any]) -> Reply:
    """The reply of a header.

    Raises:
        TypeError: It is none.
    """
    return Reply(**{**header, "vector": _form(header["vector"])})


def _is_question(header: Mapping[str, Any]) -> bool:
    kinds = {"kind": str, "run": int, "fields": dict, "heads": list | None}
    return all(isinstance(header.get(name), kind) for name, kind in kinds.items())


def _form(header: Any) -> VectorForm | None:  # noqa: ANN401 - as it came
    """How a vector is to be read; its words and sizes are looked at before anything is made of them.

    Raises:
        WardroundError: WR-1301.
    """
    if header is None:
        return None
    if not isinstance(header, dict) or header.keys() != {"dtype", "shape", "stype"}:
        raise WardroundError("WR-1301", "A vector is described by what describes none.")
    words, shape = (header["dtype"], header["stype"]), header["shape"]
    if not all(isinstance(word, str) and len(word) <= MAX_WORD for word in words) or not _are_sizes(shape):
        raise WardroundError("WR-1301", "A vector is described by what describes none.")
    return VectorForm(header["dtype"], tuple(shape), header["stype"])


def _are_sizes(shape: object) -> bool:
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size <= MAX_BODY for size in shape)


def _plain(header: object) -> object:
    value = asdict(header) if isinstance(header, Ready | Question | Reply) else header
    if isinstance(value, dict) and isinstance(value.get("fields"), dict):
        return value | {"fields": {name: _packed(field) for name, field in value["fields"].items()}}
    return value


def _packed(field: object) -> object:
    return {"hex": field.hex()} if isinstance(field, bytes) else field


def _bytes(found: dict[str, Any]) -> Any:  # noqa: ANN401 - what JSON holds
    """Turn what :func:`_packed` made back into bytes: a field never is a table otherwise.

    Raises:
        ValueError: It is not what that makes.
    """
    if found.keys() != {"hex"}:
        return found
    if not isinstance(found["hex"], str):
        raise ValueError("no hexadecimal digits")  # noqa: TRY004 - as JSON's own errors
    return bytes.fromhex(found["hex"])


def _exactly(connection: socket.socket, count: int) -> bytearray:
    content = bytearray(count)
    view = memoryview(content)
    done = 0
    while done < count:
        if not (got := connection.recv_into(view[done:])):
            raise EOFError
        done += got
    return content
