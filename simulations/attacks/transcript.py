"""The transcript of an attack: every message of it, in a form from which fresh hospitals answer again.

JSON lines, in this order:

1. ``{"transcript": 1, "attack": …, "case": …, "n": …, "off": [rules]}``
2. ``{"shared": name, "content": …}`` for rosters and terms, which most hospitals have in common, and
   ``{"hospital": name, "spec": {…}}`` for each hospital: with the messages, all that its answers follow from, the
   seed of its randomness included;
3. ``{"to": hospital, "step": …, "message": [parts], "model": [parts], "answer": …}`` for each message, numbered
   from 0. A part is hex digits, ``{"blob": name}``, or ``{"answer": number, "at": …, "bytes": …}``: a piece of what
   a hospital answered before, which is how packets travel. ``{"blob": name, "hex": …}`` stands before the first of
   several messages that are or hold the same long content. An answer is hex digits, or its SHA-256 and length
   if it is long, or ``{"refused": code, "words": …}``;
4. ``{"outcome": …}``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from wardround.common.errors import WardroundError
from wardround.common.secagg.context import SessionContext
from wardround.common.secagg.messages import ConfirmRequest, OpenRequest, Upload
from wardround.simulations.attacks.coordinator import upload_bytes
from wardround.simulations.attacks.hospital import HospitalSpec
from wardround.simulations.attacks.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from wardround.simulations.attacks.stage import Exchange

FORMAT: Final = 1
LONG: Final = 200
"""Bytes above which a message is written once and an answer is named by its hash."""

_PREFIX: Final = 64
_SHARED: Final = ("roster", "terms")
_JOINING: Final = ("advertise", "join")

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay.

    Attributes:
        messages: How many messages were sent.
        differing: Numbers of those that were answered otherwise than before.
    """

    messages: int
    differing: tuple[int, ...]

    @property
    def same(self) -> bool:
        """Whether every answer was the same, byte for byte."""
        return not self.differing


def write_transcript(path: Path, stage: Stage, header: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Write what happened on a stage."""
    lines: list[Line] = [{"transcript": FORMAT, **header}]
    lines += _hospitals(stage)
    lines += [*_Writer(stage.exchanges).lines(), {"outcome": dict(outcome)}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def replay(path: Path) -> Replay:
    """Send the messages of a transcript to fresh hospitals and compare their answers.

    Raises:
        ValueError: It is not a transcript.
    """
    written = path.read_text(encoding="utf-8").splitlines()
    lines = [json.loads(line) for line in written]
    if not lines or lines[0].get("transcript") != FORMAT:
        raise ValueError("this is not a transcript")
    later = next((place for place, line in enumerate(lines) if line.get("step", "join") not in _JOINING), len(lines))
    joined = max(place for place in range(later) if "blob" not in lines[place]) + 1
    begun = _played("\n".join(written[1:joined]))
    return _play(begun.copy(), lines[joined:]).result


def _play(play: _Play, lines: list[Line]) -> _Play:
    for line in lines:
        if "blob" in line:
            play.blobs[line["blob"]] = bytes.fromhex(line["hex"])
        if "to" in line:
            play.send(line)
    return play


@lru_cache(maxsize=4)
def _played(written: str) -> _Play:
    """The hospitals of a transcript when all have joined; many transcripts begin alike."""
    lines = [json.loads(line) for line in written.splitlines()]
    shared = {line["shared"]: line["content"] for line in lines if "shared" in line}
    stage = Stage()
    for line in lines:
        if "hospital" in line:
            spec = line["spec"] | {part: shared[line["spec"][part]] for part in _SHARED}
            stage.admit(line["hospital"], HospitalSpec.from_json(spec))
    return _play(_Play(stage, {}, [], []), lines)


@dataclass(frozen=True, slots=True)
class _Play:
    """Fresh hospitals, and what they have answered so far."""

    stage: Stage
    blobs: dict[str, bytes]
    answers: list[bytes]
    differing: list[int]

    def copy(self) -> _Play:
        return _Play(self.stage.copy(), dict(self.blobs), [*self.answers], [*self.differing])

    def send(self, line: Line) -> None:
        answer, told = _again(self.stage, line, self.blobs, self.answers)
        if told != line["answer"]:
            self.differing.append(len(self.answers))
        self.answers.append(answer)

    @property
    def result(self) -> Replay:
        return Replay(len(self.answers), tuple(self.differing))


def _hospitals(stage: Stage) -> list[Line]:
    names: dict[str, str] = {}
    found: list[Line] = []
    for hospital, one in stage.hospitals.items():
        spec = one.spec.to_json()
        for part in _SHARED:
            content = json.dumps(spec[part])
            if content not in names:
                names[content] = f"{part}{len(names)}"
                found.append({"shared": names[content], "content": spec[part]})
            spec[part] = names[content]
        found.append({"hospital": hospital, "spec": spec})
    return found


def _again(stage: Stage, line: Line, blobs: Mapping[str, bytes], answers: list[bytes]) -> tuple[bytes, object]:
    if line["step"] == "restart":
        stage.restart(line["to"])
        return b"", ""
    message, model = (_assembled(line[part], blobs, answers) for part in ("message", "model"))
    try:
        answer = stage.send(line["to"], line["step"], message, model)
    except WardroundError as error:
        return b"", _refusal(error.code, error.what)
    return answer, _told(answer)


def _assembled(parts: list[Any], blobs: Mapping[str, bytes], answers: list[bytes]) -> bytes:
    return b"".join(_part(part, blobs, answers) for part in parts)


def _part(part: str | Line, blobs: Mapping[str, bytes], answers: list[bytes]) -> bytes:
    if isinstance(part, str):
        return bytes.fromhex(part)
    if "blob" in part:
        return blobs[part["blob"]]
    start = int(part["at"])
    return answers[part["answer"]][start : start + int(part["bytes"])]


def _told(answer: bytes) -> object:
    if len(answer) <= LONG:
        return answer.hex()
    return {"sha256": hashlib.sha256(answer).hexdigest(), "bytes": len(answer)}


def _refusal(code: str, words: str) -> Line:
    return {"refused": code, "words": words}


class _Writer:
    """Finds what need not be written twice."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = exchanges
        self._packets: dict[bytes, tuple[int, int]] = {}
        self._sites: dict[str, int] = {}
        self._written: set[bytes] = set()
        long = Counter(
            content for exchange in exchanges for content in (exchange.message, exchange.model) if len(content) > LONG
        )
        self._blobs = {content: f"b{number}" for number, (content, times) in enumerate(long.items()) if times > 1}

    def lines(self) -> Iterator[Line]:
        for number, exchange in enumerate(self._exchanges):
            for content in (exchange.message, exchange.model):
                if content in self._blobs and content not in self._written:
                    self._written.add(content)
                    yield {"blob": self._blobs[content], "hex": content.hex()}
            yield {
                "to": exchange.hospital,
                "step": exchange.step,
                "message": self._parts(exchange),
                "model": self._whole(exchange.model),
                "answer": _refusal(exchange.code, exchange.words)
                if exchange.answer is None
                else _told(exchange.answer),
            }
            self._note(number, exchange)

    def _note(self, number: int, exchange: Exchange) -> None:
        """Remember how large the cohort is, and where packets lie in an upload."""
        if exchange.step == "advertise" and exchange.answer is not None:
            self._sites[exchange.hospital] = len(SessionContext.decode(exchange.message).cohort)
        if exchange.step == "upload" and exchange.answer is not None:
            sites = self._sites[exchange.hospital]
            length = upload_bytes(sites)
            packets = list(Upload.decode(exchange.answer[:length], sites).packets.values())
            place = length
            for packet in reversed(packets):
                place -= len(packet)
                self._packets[packet[:_PREFIX]] = number, place

    def _parts(self, exchange: Exchange) -> list[object]:
        parts: list[object] = []
        rest = exchange.message
        for packet in self._packets_in(exchange):
            found = self._packets.get(packet[:_PREFIX])
            if found is None:
                continue
            before, _, rest = rest.partition(packet)
            answer, place = found
            parts += [before.hex(), {"answer": answer, "at": place, "bytes": len(packet)}]
        return [*parts, *self._whole(rest)]

    def _packets_in(self, exchange: Exchange) -> list[bytes]:
        if exchange.step not in {"confirm", "open"}:
            return []
        kind = ConfirmRequest if exchange.step == "confirm" else OpenRequest
        try:
            return list(kind.decode(exchange.message, self._sites[exchange.hospital]).packets.values())
        except WardroundError:  # a message that is malformed on purpose is written as it is
            return []

    def _whole(self, content: bytes) -> list[object]:
        if content in self._blobs:
            return [{"blob": self._blobs[content]}]
        return [content.hex()] if content else []
