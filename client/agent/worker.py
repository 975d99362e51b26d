"""The worker process: it has torch, the data and the model in memory, and no connection but the one to the agent.

``python -m wardround.client.agent.worker SOCKET HOME MEMORY_MB`` is started by the agent
(:mod:`wardround.client.agent.warm`). It calls the installed ClientApp; no code ever comes over the wire. It ends when
the agent does. Where memory runs out or the GPU is lost it ends by itself with a code of its own: what a process
can still do after that is not certain, and a new one is.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from wardround.client.agent import frames
from wardround.client.agent.confine import die_with_parent, leave_no_dump
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from flwr.app import Context, Message

    from wardround.client.agent.frames import Question

OUT_OF_MEMORY: Final = 71
"""Exit status: memory ran out."""

GPU_LOST: Final = 72
"""Exit status: the GPU does not answer any more."""

_SACRIFICE: Final = 600
"""Added to the kernel's badness: when the machine's memory runs out, the worker goes and the agent stays."""


def main() -> None:
    """Confine this process, load what training needs, and answer until the agent closes the socket."""
    descriptor, home, memory_mb = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    parent = os.getppid()
    confine(memory_mb)
    if os.getppid() != parent:  # the agent died before this process had asked to die with it
        return
    with socket.socket(fileno=descriptor) as connection:
        frames.send(connection, frames.READY, ready(home))
        serve(connection, home)


def confine(memory_mb: int) -> None:
    """Die with the agent, leave no core dump, be the first to go when memory is short, and take no more than allowed.

    Args:
        memory_mb: Largest address space, MiB; 0: no limit of ours.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it reaches the agent too, which decides
    _offer()
    leave_no_dump()
    die_with_parent()
    if memory_mb:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))


def _offer() -> None:
    """Tell the kernel whom to end first; only Linux can be told."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_SACRIFICE), encoding="ascii")


def ready(home: str) -> frames.Ready:
    """Load what every message needs, and say which processor there is."""
    from wardround.client import app  # noqa: F401 - loaded now, not with the first message
    from wardround.client.home import Home
    from wardround.client.train.device import choose_device

    try:
        device = choose_device(Home(Path(home)).settings.device)
    except WardroundError as error:
        return frames.Ready("none", refused=error.code)
    return frames.Ready(device.kind.type, device.description)


def serve(connection: socket.socket, home: str) -> None:
    """Answer questions, one after the other, until the agent closes the socket."""
    while True:
        try:
            letter, header, body = frames.receive(connection)
        except (EOFError, ConnectionError):
            return
        except WardroundError as error:  # this message is refused; the next one is as good as any
            frames.send(connection, frames.REPLY, _refused(error))
            continue
        if letter == frames.SIZES:
            frames.send(connection, frames.LAYOUT, layout(Path(home), header))
            continue
        reply, vector = _answered(header, body, home)
        frames.send(connection, frames.REPLY, reply, vector)


def _answered(header: Any, body: bytearray, home: str) -> tuple[frames.Reply, bytes]:  # noqa: ANN401 - as it came
    try:
        question = frames.read_question(header)
        hear(question, home)
    except WardroundError as error:
        return _refused(error), b""
    reply, vector = answer(question, body, home)
    return replace(reply, head=new_head(question, home), epsilon=paid(question, reply, home)), vector


def _refused(error: WardroundError) -> frames.Reply:
    return frames.Reply(reason=f"{error.code}: {error.what}")


def layout(home: Path, study: str) -> dict[str, Any]:
    """Names and shapes of what an approved study's model sends, or why it has none here."""
    from wardround.client.app import resident
    from wardround.common.ids import StudyId

    try:
        hospital = resident(str(home))
        found = hospital.model(hospital.home.approved(StudyId(study))).layout
    except WardroundError as error:
        return {"refused": f"{error.code}: {error.what}"}
    return {"entries": [[entry.name, list(entry.shape)] for entry in found.entries]}


def hear(question: Question, home: str) -> None:
    """Keep what witnesses said for the payment that the question may cost.

    Raises:
        WardroundError: WR-1301, it is nothing that a witness says.
    """
    from pydantic import ValidationError

    from wardround.client.app import resident
    from wardround.common.privacy.witness import SignedHead

    heads = question.heads
    try:
        heard = None if heads is None else [None if head is None else SignedHead.model_validate(head) for head in heads]
    except ValidationError:
        raise WardroundError("WR-1301", "What a witness said cannot be read.") from None
    with suppress(WardroundError):  # the answer will say the same
        resident(home).home.heard = heard


def new_head(question: Question, home: str) -> dict[str, Any] | None:
    """Where the privacy ledger stands after a message that may have spent something; None: it has not."""
    from wardround.client.app import resident
    from wardround.common.wire.kinds import KINDS

    kind = KINDS.get(question.kind)
    if kind is None or kind.carries is None:
        return None
    try:
        found = resident(home).home
        return found.ledger.signed_head(os.urandom(32)).model_dump(mode="json") if found.ledger.exists else None
    except WardroundError:  # the ledger is not usable, and the answer said so
        return None


def paid(question: Question, reply: frames.Reply, home: str) -> float | None:
    """What the run of an answer has cost each patient so far; None: nothing is paid for it."""
    from wardround.client.app import resident
    from wardround.client.run_cost import cost_so_far
    from wardround.common.wire.base import RunContext
    from wardround.common.wire.kinds import KINDS, checked_question

    kind = KINDS.get(question.kind)
    if kind is None or kind.carries is None or reply.fields is None:
        return None
    try:
        asked, at = checked_question(question.kind, question.fields), resident(home).home
        return cost_so_far(at, at.approved(asked.study), asked.run) if isinstance(asked, RunContext) else None
    except WardroundError:  # withdrawn meanwhile: the gate refuses it
        return None


def answer(question: Question, body: bytearray, home: str) -> tuple[frames.Reply, bytes]:
    """The installed ClientApp's answer to a question, and the bytes of its vector."""
    from wardround.client.app import app
    from wardround.client.fault import HospitalFault

    message, context = to_flower(question, body, home)
    try:
        return _read(app(message, context))
    except HospitalFault as fault:  # its cause is written down already
        _leave_if_broken(fault.__cause__)
        return frames.Reply(reason=f"WR-1925: {fault}"), b""
    except ValueError:  # Flower's word for a kind that nobody registered
        return frames.Reply(reason="WR-1301: The kind of message is unknown at this hospital."), b""


def to_flower(question: Question, body: bytearray, home: str) -> tuple[Message, Context]:
    """A question as Flower hands it to a ClientApp."""
    import time

    from flwr.app import DEFAULT_TTL, Array, ArrayRecord, ConfigRecord, Context, Message, Metadata, RecordDict

    from wardround.client.app import HOME_KEY
    from wardround.common.wire.records import FIELDS, VECTOR

    content = RecordDict({FIELDS: ConfigRecord(dict(question.fields))})
    if (form := question.vector) is not None:
        content[VECTOR] = ArrayRecord({VECTOR: Array(form.dtype, form.shape, form.stype, bytes(body))})
    metadata = Metadata(question.run, "question", 1, 2, "", "", time.time(), DEFAULT_TTL, question.kind)
    # The signature is not among the documented ones; TaskIdentity, the other way, belongs to Flower's own processes.
    message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
    return message, Context(question.run, 2, {HOME_KEY: home}, RecordDict(), {})


def _read(message: Message) -> tuple[frames.Reply, bytes]:
    from flwr.app import ArrayRecord, ConfigRecord

    from wardround.common.wire.records import FIELDS, VECTOR

    if message.has_error():
        return frames.Reply(reason=message.error.reason), b""
    fields, arrays = message.content.get(FIELDS), message.content.get(VECTOR)
    if not isinstance(fields, ConfigRecord) or not message.content.keys() <= {FIELDS, VECTOR}:
        raise RuntimeError("the installed ClientApp gave what no message holds")
    if not isinstance(arrays, ArrayRecord):
        return frames.Reply(fields=dict(fields)), b""
    array = arrays[VECTOR]
    return frames.Reply(dict(fields), frames.VectorForm(array.dtype, tuple(array.shape), array.stype)), array.data


def _leave_if_broken(cause: BaseException | None) -> None:
    """End this process where it cannot be relied on any more."""
    import torch

    if isinstance(cause, MemoryError) or "can't allocate memory" in str(cause):  # torch's word for the processor's
        _exit(OUT_OF_MEMORY)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        try:
            torch.zeros(1, device="cuda").add_(1).item()
        except RuntimeError:
            _exit(GPU_LOST)


def _exit(status: int) -> NoReturn:
    os._exit(status)


if __name__ == "__main__":
    main()
