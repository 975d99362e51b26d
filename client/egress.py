"""The egress gate: the only place where something is made ready to leave the hospital.

A reply of the worker and a request to the coordinator pass through here, or do not leave. What passes is built anew
from what was checked; nothing that was found beside it goes along.

1. Its kind is one of :data:`wardround.common.wire.kinds.KINDS`, for studies of the approved study's mode.
2. Its fields are those of the kind's reply, typed, and in this site's name; no text is among them.
3. Its vector has exactly the size that the approved study's model explains.
4. Of a refusal the code leaves with its title; a sentence only where it cannot speak of this site's data.
5. For one round of a run a vector leaves :func:`times` times at most, each time as ``egress.jsonl`` has it.
6. A line in ``egress.jsonl`` says what leaves (:class:`Line`); it is durable before anything is handed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wardround.client.agent.frames import VectorForm
from wardround.client.secagg.spoken import SPOKEN
from wardround.common.errors import REGISTRY, WardroundError
from wardround.common.rounds.encodings import encoding_of
from wardround.common.secagg.context import RoundContext
from wardround.common.secagg.messages import Advert, Confirmation, Joined, Opening, OpenRequest, Upload
from wardround.common.wire import federation, private
from wardround.common.wire.base import RunContext
from wardround.common.wire.kinds import Kind, checked_question, checked_reply, known_kind
from wardround.common.wire.private import ProtocolMessage, ProtocolReply
from wardround.common.wire.records import RAW_FLOAT32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO
    from pathlib import Path

    from wardround.client.agent.frames import Fields, Question, Reply
    from wardround.client.home import Home
    from wardround.common.consortium.signed import Document
    from wardround.common.ids import StudyId
    from wardround.common.study import Study
    from wardround.common.vector import Layout
    from wardround.common.wire.base import SiteReply

_Place: TypeAlias = tuple[str, str | None, str | None, int | None]

EGRESS: Final = "egress.jsonl"
"""File in the home folder: one line for each message that left, oldest first."""

REQUESTS: Final[Mapping[str, tuple[type[Document], int]]] = {
    federation.GREET: (federation.Greet, 1 << 10),
    federation.ENROL: (federation.Enrol, 1 << 16),
    federation.RENEW: (federation.Renew, 1 << 15),
    federation.ROSTER: (federation.Nothing, 2),
    federation.STUDIES: (federation.Nothing, 2),
    federation.DECIDE: (federation.Decide, 1 << 15),
    federation.REPORT: (federation.Report, 1 << 10),
    federation.WITNESS: (federation.Witness, 1 << 13),
    federation.WATCH: (federation.Nothing, 2),
}
"""Calls to the coordinator: what is asked, and how many bytes that may have."""

ASKED: Final = 10
"""How often the same update leaves: a coordinator asks again after a crash, and where sites were silent."""

_REASON: Final = re.compile(r"(WR-\d{4}): (.*)", re.DOTALL)
_SENTENCE: Final = re.compile(r"[\x20-\x7e…]+")
_LONGEST_SENTENCE: Final = 300
"""Bytes."""

_SILENT: Final = "WR-1712"
"""Says what the site's policy allows, in its own numbers."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of ``egress.jsonl``.

    Attributes:
        at: Seconds since 1970, UTC.
        kind: Flower's message type, or the name of a call of ``wardround.Federation``.
        bytes: How many left, without what Flower and TLS add: the fields as JSON, bytes among them as they are, and the
            vector; of a request its body.
        sha256: Of the fields as JSON with sorted keys, bytes in hex, then the vector; of a request its body.
        study: The study's id; None: it belongs to none.
        run: The study run.
        round: The round, where the message names one.
        epsilon: What the run has cost each patient so far, this message included, where it depends on patients: of this
            run alone, at the study's delta, so that the last line stands for all; the larger one of training and
            validation patients, who are others. ``infinite``: the study promises nothing.
        refused: Code of the refusal that left instead of an answer.
    """

    at: float
    kind: str
    bytes: int
    sha256: str
    study: str | None = None
    run: str | None = None
    round: int | None = None
    epsilon: float | str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """What may leave: a reply's fields and vector, or a reason.

    Attributes:
        fields: As the coordinator gets them; None: it is a refusal.
        vector: What the bytes of the vector are.
        body: The vector's bytes.
        reason: A ``WR`` code, a colon and a sentence.
    """

    fields: Fields | None = None
    vector: VectorForm | None = None
    body: bytes | bytearray = b""
    reason: str | None = None


class Gate:
    """The egress gate of one hospital.

    Args:
        home: The hospital's home.
        layouts: Gives the layout of what an approved study's model sends.
    """

    def __init__(self, home: Home, layouts: Callable[[StudyId], Layout]) -> None:
        self._home = home
        self._layouts = layouts
        self._lock = threading.Lock()
        self._left: Counter[_Place] | None = None

    def request(self, call: str, document: Document) -> bytes:
        """The bytes of a request to the coordinator.

        Raises:
            WardroundError: WR-1911, the call does not exist, has not such a request, or it is too large; nothing left.
        """
        kind, most = REQUESTS.get(call, (None, 0))
        content = document.canonical()
        if kind is None or type(document) is not kind or len(content) > most:
            raise _withheld("A request to the coordinator is not one that exists, or too large.")
        kind.from_canonical(content, code="WR-1911")
        self._write(call.rpartition("/")[2], content)
        return content

    def reply(self, question: Question, reply: Reply, body: bytes | bytearray = b"") -> Released:
        """What leaves as the answer to a message.

        Args:
            question: The message.
            reply: What the worker answered.
            body: The bytes of its vector.

        Raises:
            WardroundError: WR-1911, the reply is not what the question can have as an answer; WR-1301, it has left as
                often as it may; nothing left.
        """
        if reply.fields is None:
            return self.refusal(question, reply.reason or "")
        kind = known_kind(question.kind)
        asked = checked_question(question.kind, question.fields)
        found = checked_reply(question.kind, reply.fields)
        if found.site != self._home.site:
            raise _withheld("A reply is in the name of another site.")
        study = self._home.approved(asked.study) if isinstance(asked, RunContext) else None
        if study is not None:
            _check_mode(kind, study)
        round_ = _round(question.kind, asked, found)
        if isinstance(found, ProtocolReply) and isinstance(asked, ProtocolMessage) and study is not None:
            _check_content(question.kind, asked.content, found.content, len(study.sites))
        self._check_vector(kind, study, round_, reply.vector, len(body))
        fields = found.model_dump(exclude_none=True)
        about = _about(kind, asked, study, round_, reply.epsilon)
        left, place = self._vectors(), (question.kind, about.get("study"), about.get("run"), round_)
        if kind.carries is not None and study is not None and left[place] >= times(study):
            what = f"The answer of round {round_} left {times(study)} times, and does no more."
            raise WardroundError("WR-1301", what, fix="Stop this run at the coordinator, and start a new one.")
        self._write(question.kind, _content(fields), body, in_hex=_in_hex(fields), **about)
        left[place] += 1
        return Released(fields, reply.vector, body)

    def _vectors(self) -> Counter[_Place]:
        """How often the answer of each kind, study, run and round left: as the file says, read once in a process."""
        if self._left is None:
            try:
                lines = read_egress(self._home.path)
            except OSError as error:
                raise _unusable("read", error.strerror or type(error).__name__) from error
            self._left = Counter((line.kind, line.study, line.run, line.round) for line in lines if not line.refused)
        return self._left

    def refusal(self, question: Question, reason: str | WardroundError) -> Released:
        """What leaves where a message is not answered.

        Args:
            question: The message.
            reason: A ``WR`` code and a sentence; anything else counts as WR-1925.
        """
        said = may_say(f"{reason.code}: {reason.what}" if isinstance(reason, WardroundError) else reason)
        self._write(question.kind, said.encode(), refused=said[:7])
        return Released(reason=said)

    def _check_vector(
        self, kind: Kind, study: Study | None, round_: int | None, form: VectorForm | None, size: int
    ) -> None:
        expected, count = None, 0
        if kind.carries is not None and study is not None:
            layout = self._layouts(study.id)
            if kind.carries == "float32":
                expected, count = VectorForm("float32", (layout.size,), RAW_FLOAT32), 4 * layout.size
            else:
                encoding = encoding_of(study, layout, round_ or 0)
                name = encoding.ring.dtype.name
                expected = VectorForm(name, (encoding.size,), f"wardround.{name}.le")
                count = encoding.ring.bytes * encoding.size
        if form != expected or size != count:
            raise _withheld("The vector of a reply is not the one that the study's model explains.")

    def _write(
        self,
        kind: str,
        content: bytes,
        body: bytes | bytearray = b"",
        *,
        in_hex: int = 0,
        **about: Any,  # noqa: ANN401 - fields of a line
    ) -> None:
        digest = hashlib.sha256(content)
        digest.update(body)
        size = len(content) - in_hex + len(body)
        _append(
            self._home.path / EGRESS, Line(round(time.time(), 3), kind, size, digest.hexdigest(), **about), self._lock
        )


def times(study: Study) -> int:
    """How often a vector may leave for one round of a run; in a private study each attempt masks the update anew."""
    return ASKED + (study.secure.attempts - 1 if study.private else 0)


def reply_bytes(reply: SiteReply) -> int:
    """How many bytes a reply's fields have, as ``egress.jsonl`` counts them."""
    fields = reply.model_dump(exclude_none=True)
    return len(_content(fields)) - _in_hex(fields)


def refusal_bytes() -> int:
    """How many bytes a refusal has at most."""
    titles = max(len(f"{page.title}.".encode()) for page in REGISTRY.values())
    return len(f"{min(REGISTRY)}: ") + max(_LONGEST_SENTENCE, titles)


def may_say(reason: str) -> str:
    """A refusal as it may leave: the code with its title, or with its sentence where that speaks of no data.

    Args:
        reason: A ``WR`` code, a colon and a sentence; anything else counts as WR-1925.
    """
    found = _REASON.fullmatch(reason)
    code = found[1] if found is not None and found[1] in REGISTRY else "WR-1925"
    spoken = code.startswith(SPOKEN) and code != _SILENT
    if found is not None and spoken and _may_leave(found[2]):
        return reason
    return f"{code}: {REGISTRY[code].title}."


def read_egress(home: Path) -> list[Line]:
    """What left so far; a line that broke off when the machine stopped is left out, for nothing left with it."""
    try:
        text = (home / EGRESS).read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    return [Line(**json.loads(line)) for line in text.splitlines() if _is_whole(line)]


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _may_leave(sentence: str) -> bool:
    fits = len(sentence.encode()) <= _LONGEST_SENTENCE and _SENTENCE.fullmatch(sentence) is not None
    return fits and not any(sign in sentence for sign in ("/", "\\", "@", "~"))


def _check_mode(kind: Kind, study: Study) -> None:
    """Refuse a reply that studies of this mode never have: no number of one site leaves a private study."""
    mode = "private" if study.private else "open" if study.privacy is None else "noisy"
    if kind.mode not in {"any", mode}:
        raise _withheld("The kind of reply does not belong to studies of the approved study's mode.")


def _round(name: str, asked: object, found: SiteReply) -> int | None:
    """The round of a message; the reply has to be of the round that was asked for."""
    if name == private.UPLOAD and isinstance(asked, ProtocolMessage):
        return RoundContext.decode(asked.content).round
    number: int | None = getattr(asked, "round", None)
    if getattr(found, "round", number) != number:
        raise _withheld("A reply is of another round than the question.")
    return number


def _check_content(name: str, asked: bytes, content: bytes, sites: int) -> None:
    """Refuse bytes that are not the message of the protocol that this step has."""
    try:
        if name == private.ADVERTISE:
            Advert.decode(content)
        elif name == private.JOIN:
            Joined.decode(content)
        elif name == private.UPLOAD:
            Upload.decode(content, sites)
        elif name == private.CONFIRM:
            Confirmation.decode(content)
        elif name == private.OPEN:
            Opening.decode(content, sites, len(OpenRequest.decode(asked, sites).survivors.sites))
        elif content:
            raise _withheld("A step of the protocol that is answered with nothing was answered with something.")
    except WardroundError as error:
        raise _withheld(f"A reply is not the protocol's: {error.what}") from error


def _about(kind: Kind, asked: object, study: Study | None, round_: int | None, cost: float | None) -> dict[str, Any]:
    """What a line says besides the bytes; where nobody counted, epsilon is the whole study's, which is no less."""
    if study is None or not isinstance(asked, RunContext):
        return {}
    promised = None if study.privacy is None else study.privacy.largest
    known = promised if cost is None else cost
    epsilon = ("infinite" if promised is None else known) if kind.tells else None
    return {"study": study.id, "run": asked.run, "round": round_, "epsilon": epsilon}


def _in_hex(fields: Mapping[str, Any]) -> int:
    """How many bytes stand as two digits each in :func:`_content`."""
    return sum(len(value) for value in fields.values() if isinstance(value, bytes))


def _content(fields: Mapping[str, Any]) -> bytes:
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _append(path: Path, line: Line, lock: threading.Lock) -> None:
    """Write a line; durable on return. Where it cannot be written, nothing leaves."""
    content = json.dumps({name: value for name, value in asdict(line).items() if value is not None}).encode() + b"\n"
    try:
        with lock, os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+", 0) as file:
            if _broke_off(file):
                content = b"\n" + content
            written = file.write(content)
            os.fsync(file.fileno())
    except OSError as error:
        raise _unusable("written", error.strerror or type(error).__name__) from error
    if written != len(content):
        raise _unusable("written", "a line was written in part, the disk is full")


def _broke_off(file: FileIO) -> bool:
    """Whether the last line has no end: the machine stopped while it was written."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _unusable(done: str, reason: str) -> WardroundError:
    fix = "Look at the free space, and whether this account may write in the home folder; the agent goes on by itself."
    return WardroundError("WR-1506", f"Nothing leaves while {EGRESS} cannot be {done}: {reason}.", fix=fix)


def _withheld(what: str) -> WardroundError:
    return WardroundError("WR-1911", what)
