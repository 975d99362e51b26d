"""The egress gate: what a kind of message holds passes, whatever is more or else does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from fakes.scenarios import chest_scenario

from wardround.client.agent.frames import Question, Reply, VectorForm
from wardround.client.egress import EGRESS, REQUESTS, Gate, Line, may_say, read_egress, times
from wardround.client.home import Home, create_home
from wardround.client.studies.leaving import amounts, leaving
from wardround.common.errors import REGISTRY, WardroundError
from wardround.common.ids import SiteId
from wardround.common.rounds.encodings import training_encoding
from wardround.common.secagg.context import RoundContext
from wardround.common.secagg.messages import (
    Advert,
    Confirmation,
    Joined,
    Opening,
    OpenRequest,
    Survivors,
    Upload,
    packet_bytes,
)
from wardround.common.secagg.shamir import SHARE_BYTES
from wardround.common.vector import Entry, Layout
from wardround.common.wire import federation
from wardround.common.wire.federation import Greet, Nothing, Report
from wardround.common.wire.kinds import KINDS
from wardround.common.wire.records import RAW_FLOAT32

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study

LAYOUT = Layout((Entry("weight", (3, 4)), Entry("bias", (4,))))
SIZE = 16
FLOATS = VectorForm("float32", (SIZE,), RAW_FLOAT32)
UPDATE = bytes(range(4 * SIZE))
HASH = bytes(32)
PLANTED = "MUSTERMANN^ERIKA"

_PRIVATE = {"aggregation": {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}}}
_PROMISE = {
    "aggregation": {"mode": "open", "weights": "equal"},
    "selection": {"rule": "last"},
    "privacy": {"trust": "local", "epsilon": 4.0, "patients": 40, "rate": 0.5},
    "training": {"optimizer": "sgd", "momentum": 0.0, "augmentation": []},
}
STUDIES: dict[str, Study] = {
    "open": chest_scenario().study,
    "private": chest_scenario(selection={"rule": "last"}, **_PRIVATE).study,
    "noisy": chest_scenario(**_PROMISE).study,
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = create_home(tmp_path / "home", SiteId("north"), [], device="cpu", threads=1)
    for study in STUDIES.values():
        found.approve(study)
    return found


@pytest.fixture
def gate(home: Home) -> Gate:
    return Gate(home, lambda _: LAYOUT)


def asked(mode: str, **fields: Any) -> dict[str, Any]:
    return {"study": STUDIES[mode].id, "run": "run-1", "seed": 0} | fields


def step(content: bytes) -> dict[str, Any]:
    return asked("private", content=content)


ENCODING = training_encoding(STUDIES["private"], LAYOUT)
RING = VectorForm(ENCODING.ring.dtype.name, (ENCODING.size,), f"wardround.{ENCODING.ring.dtype.name}.le")
MASKED = bytes(ENCODING.ring.bytes * ENCODING.size)
CONTEXT = RoundContext(HASH, 2, 1, HASH, HASH, HASH, ENCODING.ring.bits, 1).encode()
UPLOAD = Upload(1, HASH, (HASH,) * 3, {place: bytes(packet_bytes(3)) for place in (0, 2)}).encode()
OPEN = OpenRequest(Survivors(HASH, (0, 1, 2), HASH), {}, {}).encode(3)
TRAIN = {"layout": LAYOUT.hash, "round": 2, "rounds": 3, "start": 0, "samples": 8}
TRAINED = {"site": "north", "round": 2, "patients": 9, "samples": 8, "loss": 0.5, "train_seconds": 1.0, "seconds": 2.0}

ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any], VectorForm | None, bytes]] = {
    "query.hello": ({}, {"site": "north"}, None, b""),
    "query.describe": (asked("open"), {"site": "north", "patients": 9, "samples": 12}, None, b""),
    "train": (asked("open", **TRAIN), TRAINED, FLOATS, UPDATE),
    "evaluate": (asked("open", layout=LAYOUT.hash), {"site": "north", "loss": 0.5}, None, b""),
    "evaluate.score": (asked("open", layout=LAYOUT.hash, part="test"), {"site": "north"}, None, b""),
    "query.prepare": (asked("noisy"), {"site": "north"}, None, b""),
    "train.noisy": (asked("noisy", layout=LAYOUT.hash, round=1), {"site": "north", "round": 1}, FLOATS, UPDATE),
    "query.settle": (asked("noisy"), {"site": "north"}, None, b""),
    "query.advertise": (
        step(b"session"),
        {"site": "north", "content": Advert(1, HASH, HASH, HASH + HASH).encode()},
        None,
        b"",
    ),
    "query.join": (step(b"adverts"), {"site": "north", "content": Joined(1, HASH).encode()}, None, b""),
    "train.private": (step(CONTEXT), {"site": "north", "content": UPLOAD}, RING, MASKED),
    "query.confirm": (
        step(b"survivors"),
        {"site": "north", "content": Confirmation(1, HASH, HASH + HASH).encode()},
        None,
        b"",
    ),
    "query.open": (
        step(OPEN),
        {"site": "north", "content": Opening(1, HASH, bytes(3 * SHARE_BYTES)).encode()},
        None,
        b"",
    ),
    "query.ended": (step(b"ended"), {"site": "north", "content": b""}, None, b""),
    "query.finished": (step(b""), {"site": "north", "content": b""}, None, b""),
}


def refused(gate: Gate, question: Question, reply: Reply, body: bytes) -> str:
    with pytest.raises(WardroundError) as refusal:
        gate.reply(question, reply, body)
    assert PLANTED not in str(refusal.value)
    return refusal.value.code


def test_every_kind_of_message_has_an_example_here() -> None:
    assert ANSWERS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_reply_of_its_kind_passes_and_is_written_down(kind: str, gate: Gate, home: Home) -> None:
    fields, answer, form, body = ANSWERS[kind]
    released = gate.reply(Question(kind, 1, fields), Reply(answer, form), body)
    assert released.reason is None
    assert (released.fields, released.vector, bytes(released.body)) == (answer, form, body)
    line = read_egress(home.path)[-1]
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in answer.items()}
    content = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + body
    size = len(content) - len(answer.get("content", b""))  # bytes count once, not as two digits each
    assert (line.kind, line.bytes, line.sha256) == (kind, size, hashlib.sha256(content).hexdigest())
    assert (line.study, line.run) == (fields.get("study"), fields.get("run"))


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_field_too_many_is_refused_and_not_repeated(kind: str, gate: Gate, home: Home) -> None:
    fields, answer, form, body = ANSWERS[kind]
    for more in ({"patient": PLANTED}, {PLANTED: 1}):
        assert refused(gate, Question(kind, 1, fields), Reply(answer | more, form), body) == "WR-1911"
    assert read_egress(home.path) == []


@pytest.mark.parametrize("kind", ANSWERS)
def test_text_in_the_place_of_any_value_is_refused(kind: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    for name in answer:
        assert refused(gate, Question(kind, 1, fields), Reply(answer | {name: PLANTED}, form), body) == "WR-1911"


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_vector_of_any_other_form_or_size_is_refused(kind: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    question = Question(kind, 1, fields)
    others = [
        (None, body + b"\0"),
        (FLOATS, UPDATE + bytes(4)),
        (VectorForm("float32", (SIZE + 1,), RAW_FLOAT32), UPDATE + bytes(4)),
        (VectorForm("float32", (4, 4), RAW_FLOAT32), UPDATE),
        (VectorForm("object", (SIZE,), PLANTED), UPDATE),
    ]
    if form is not None:
        others += [(form, body[:-1]), (form, body + b"\0"), (None, b"")]
    for other, content in others:
        assert refused(gate, question, Reply(answer, other), content) == "WR-1911"


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, found in KINDS.items() for mode in STUDIES if found.mode != "any"]
)
def test_a_reply_leaves_only_in_studies_of_its_mode(kind: str, mode: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    question, reply = Question(kind, 1, fields | {"study": STUDIES[mode].id}), Reply(answer, form)
    if KINDS[kind].mode == mode:
        assert gate.reply(question, reply, body).reason is None
    else:
        assert refused(gate, question, reply, body) == "WR-1911"


@pytest.mark.parametrize("kind", [kind for kind, found in KINDS.items() if found.mode == "private"])
def test_bytes_that_are_not_the_message_of_the_step_are_refused(kind: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    for content in (answer["content"] + b"\0", answer["content"] + PLANTED.encode(), PLANTED.encode()):
        assert refused(gate, Question(kind, 1, fields), Reply(answer | {"content": content}, form), body) == "WR-1911"


@pytest.mark.parametrize("kind", ["train", "train.noisy"])
def test_a_reply_of_another_round_is_refused(kind: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    assert refused(gate, Question(kind, 1, fields), Reply(answer | {"round": 3}, form), body) == "WR-1911"


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_reply_in_the_name_of_another_site_is_refused(kind: str, gate: Gate) -> None:
    fields, answer, form, body = ANSWERS[kind]
    assert refused(gate, Question(kind, 1, fields), Reply(answer | {"site": "coast"}, form), body) == "WR-1911"


def test_nothing_of_a_study_leaves_once_its_approval_is_withdrawn(gate: Gate, home: Home) -> None:
    fields, answer, form, body = ANSWERS["train"]
    home.withdraw(STUDIES["open"].id)
    assert refused(gate, Question("train", 1, fields), Reply(answer, form), body) == "WR-1304"


def test_an_unknown_kind_is_refused(gate: Gate) -> None:
    assert refused(gate, Question("query.shell", 1, {}), Reply({"site": "north"}), b"") == "WR-1301"


def test_epsilon_stands_where_a_reply_depends_on_patients(gate: Gate, home: Home) -> None:
    for kind, (given, answer, form, body) in ANSWERS.items():
        gate.reply(Question(kind, 1, given), Reply(answer, form), body)
    found = {line.kind: line.epsilon for line in read_egress(home.path)}
    assert {kind for kind, epsilon in found.items() if epsilon is not None} == {
        kind for kind, known in KINDS.items() if known.tells
    }
    assert (found["train.noisy"], found["train"], found["train.private"]) == (4.0, "infinite", "infinite")
    given, answer, form, body = ANSWERS["train.noisy"]
    gate.reply(Question("train.noisy", 1, given), Reply(answer, form, epsilon=1.5), body)
    assert read_egress(home.path)[-1].epsilon == 1.5


@pytest.mark.parametrize(
    ("reason", "leaves"),
    [
        ("WR-1301: Round 4 of 3 is not one of the study's.", True),
        ("WR-1702: coast is not in version 3 of the roster.", True),
        (f"WR-1301: {PLANTED} has no image.".replace("^", "/"), False),
        ("WR-1301: C:\\Users\\x", False),
        ("WR-1301: é", False),
        ("WR-1301: " + "a" * 301, False),
        ("WR-1301: two\nlines", False),
        ("WR-1712: This site's policy forbids taking part with 7 patients; it allows 20 or more.", False),
        (f"WR-1105: Row 7, column '{PLANTED}'.", False),
        (f"WR-1306: {PLANTED}", False),
    ],
)
def test_a_sentence_leaves_only_where_it_cannot_speak_of_data(reason: str, leaves: bool) -> None:  # noqa: FBT001
    code = reason[:7]
    assert may_say(reason) == (reason if leaves else f"{code}: {REGISTRY[code].title}.")


@pytest.mark.parametrize("reason", [PLANTED, f"KeyError: {PLANTED}", f"WR-9999: {PLANTED}", "", f"WR-13011: {PLANTED}"])
def test_what_is_no_refusal_counts_as_a_hospital_that_could_not_answer(reason: str, gate: Gate, home: Home) -> None:
    released = gate.reply(Question("train", 1, {}), Reply(reason=reason))
    assert released.reason == f"WR-1925: {REGISTRY['WR-1925'].title}."
    assert read_egress(home.path)[-1].refused == "WR-1925"
    assert PLANTED not in (home.path / EGRESS).read_text()


def test_requests_pass_as_they_are_and_are_written_down(gate: Gate, home: Home) -> None:
    greet = Greet(release="0.1.0", protocols=(1,), roster=3)
    assert gate.request(federation.GREET, greet) == greet.canonical()
    assert gate.request(federation.ROSTER, Nothing()) == b"{}"
    lines = read_egress(home.path)
    assert [line.kind for line in lines] == ["Greet", "Roster"]
    assert lines[0].sha256 == hashlib.sha256(greet.canonical()).hexdigest()


def test_other_requests_are_refused(gate: Gate, home: Home) -> None:
    unchecked = Report.model_construct(state="idle", run=PLANTED, what=None, reason=None, device="none")
    wrong: list[tuple[str, Any]] = [
        ("/wardround.Federation/Shell", Nothing()),
        (federation.GREET, Nothing()),
        (federation.REPORT, unchecked),
        (federation.REPORT, Report.model_construct(state="idle", run="r" * 5000, device="none")),
    ]
    for call, document in wrong:
        with pytest.raises(WardroundError) as refusal:
            gate.request(call, document)
        assert refusal.value.code == "WR-1911"
        assert PLANTED not in str(refusal.value)
    assert read_egress(home.path) == []


def test_every_call_to_the_coordinator_is_known() -> None:
    assert set(REQUESTS) == {getattr(federation, name) for name in dir(federation) if _is_call(name)}


def _is_call(name: str) -> bool:
    return name != "SERVICE" and str(getattr(federation, name)).startswith(federation.SERVICE)


def test_nothing_leaves_that_cannot_be_written_down(gate: Gate, home: Home) -> None:
    fields, answer, form, body = ANSWERS["train"]
    (home.path / EGRESS).mkdir()
    assert refused(gate, Question("train", 1, fields), Reply(answer, form), body) == "WR-1506"
    (home.path / EGRESS).rmdir()
    assert gate.reply(Question("train", 1, fields), Reply(answer, form), body).reason is None


@pytest.mark.parametrize(("kind", "most"), [("train", 10), ("train.noisy", 10), ("train.private", 12)])
def test_an_update_leaves_so_often_for_one_round_and_no_more(kind: str, most: int, gate: Gate, home: Home) -> None:
    fields, answer, form, body = ANSWERS[kind]
    question, reply = Question(kind, 1, fields), Reply(answer, form)
    study = STUDIES[KINDS[kind].mode]
    gate.reply(Question("query.hello", 1, {}), Reply({"site": "north"}))
    gate.refusal(question, "WR-1301: no")  # is no update
    for number in range(most):
        asked_of = gate if number < 3 else Gate(home, lambda _: LAYOUT)  # restarts do not begin anew
        assert asked_of.reply(question, reply, body).reason is None
    for again in (asked_of, Gate(home, lambda _: LAYOUT)):
        assert refused(again, question, reply, body) == "WR-1301"
    lines = [line for line in read_egress(home.path) if line.kind == kind and line.refused is None]
    assert len(lines) == most == times(study)
    assert Gate(home, lambda _: LAYOUT).reply(Question(kind, 1, fields | {"run": "other"}), reply, body).reason is None
    for _ in range(most + 1):  # what is small is not counted
        assert gate.reply(Question("query.hello", 1, {}), Reply({"site": "north"})).reason is None


def test_all_that_updates_may_give_is_within_what_people_are_shown(gate: Gate, home: Home) -> None:
    study = STUDIES["open"]
    fields, answer, form, body = ANSWERS["train"]
    messages = leaving(study, LAYOUT, home.site)
    most = amounts(study, messages, home.site, "consortium")
    for number in range(1, study.training.rounds + 1):
        question = Question("train", 1, fields | {"round": number, "rounds": study.training.rounds})
        for asked_again in range(20):
            if asked_again < most.times:
                gate.reply(question, Reply(answer | {"round": number}, form), body)
            else:
                assert refused(gate, question, Reply(answer | {"round": number}, form), body) == "WR-1301"
    left = sum(line.bytes for line in read_egress(home.path))
    (once,) = (message.size for message in messages if message.vector)
    assert study.training.rounds * once < left <= most.tried_again - most.decision


def test_a_line_that_broke_off_is_left_out_and_spoils_no_other(gate: Gate, home: Home) -> None:
    gate.request(federation.ROSTER, Nothing())
    with (home.path / EGRESS).open("a") as file:
        file.write('{"at": 1.0, "ki')
    assert [line.kind for line in read_egress(home.path)] == ["Roster"]
    gate.request(federation.STUDIES, Nothing())
    assert [line.kind for line in read_egress(home.path)] == ["Roster", "Studies"]


def test_the_page_on_the_agent_names_every_kind_and_every_field_of_a_line(root: Path) -> None:
    page = (root / "deploy" / "docs" / "agent.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
    assert [field.name for field in fields(Line) if f"`{field.name}`" not in page] == []
