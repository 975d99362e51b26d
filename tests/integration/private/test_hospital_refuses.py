"""A hospital in private mode against questions that it must not answer: refused with a code that tells nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.private_runs import Consortium, WatchedGrid, private_scenario, watched

from wardround.client.home import Home
from wardround.client.hospital import Hospital
from wardround.client.policy import POLICY, Policy
from wardround.client.secagg.rounds import PrivateRounds
from wardround.client.secagg.runs import run_files
from wardround.common.errors import REGISTRY, WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.secagg.context import settings_digest
from wardround.common.secagg.coordinator_session import offer
from wardround.common.secagg.parameters import Strength, Threshold
from wardround.common.secagg.site_records import ModelRecord, model_record
from wardround.common.wire.messages import Describe, Train, Validate
from wardround.common.wire.private import (
    ADVERTISE,
    CONFIRM,
    ENDED,
    FINISHED,
    JOIN,
    OPEN,
    UPLOAD,
    ProtocolMessage,
    ProtocolReply,
)
from wardround.common.wire.records import FIELDS, pack, pack_vector, unpack
from wardround.simulations.hospitals import consortium_roster

if TYPE_CHECKING:
    from pathlib import Path

    from flwr.app import ArrayRecord, Message

    from wardround.common.study import Study
    from wardround.common.wire.base import WireMessage

SITE = SiteId("site0")


def policy_of(**fields: Any) -> Policy:
    """A policy that allows studies without differential privacy, which the default one does not."""
    return Policy(**{"without_privacy": True, **fields})


ALL = policy_of(modes=("open", "private"), strengths=("active", "semi-honest"), runs_per_study=1000)


class Asked:
    """One hospital of a consortium, and a coordinator's questions to it."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.consortium = Consortium.of(private_scenario(3, rounds=2, **sections), folder)
        self.study = self.consortium.study
        self.model = pack_vector(np.zeros(self.consortium.layout.size, dtype=np.float32))

    def policy(self, policy: Policy) -> None:
        (self.consortium.homes[SITE] / POLICY).write_bytes(policy.as_toml())

    def offer(self, run: str = "run", session: int = 1, colluding: int = 0) -> bytes:
        roster = consortium_roster(self.consortium.folder).roster
        sizes = Threshold(3, colluding, Strength.ACTIVE)
        offered = offer(
            roster,
            self.study.id,
            StudyRunId(run),
            settings=settings_digest(0, 0, 1),
            session=session,
            cohort=self.study.site_ids,
            sizes=sizes,
        )
        return offered.encode()

    def private(self, kind: str, content: bytes, *, run: str = "run", study: Study | None = None) -> str:
        message = ProtocolMessage(**self.fields(study or self.study, run), content=content)
        return self.ask(kind, message, self.model if kind == UPLOAD else None)

    def advertise(self, run: str = "run", **offered: Any) -> str:
        return self.private(ADVERTISE, self.offer(run, **offered), run=run)

    def fields(self, study: Study, run: str = "run") -> dict[str, Any]:
        return {"study": study.id, "run": run, "seed": 0}

    def ask(self, kind: str, question: WireMessage, vector: ArrayRecord | None = None) -> str:
        """The code of the refusal, or nothing."""
        reply = self.reply(kind, question, vector)
        return str(reply.error.reason)[:7] if reply.has_error() else ""

    def reply(self, kind: str, question: WireMessage, vector: ArrayRecord | None = None) -> Message:
        grid = WatchedGrid(self.consortium)
        message = grid.create_message(pack(question, vector), kind, grid.nodes[SITE], "1")
        return next(iter(grid.send_and_receive([message])))


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def open_questions(asked: Asked, study: Study) -> list[tuple[str, WireMessage, ArrayRecord | None]]:
    fields, layout = asked.fields(study), asked.consortium.layout.hash
    train = Train(**fields, layout=layout, round=1, rounds=2, start=0, samples=8)
    return [
        ("query.describe", Describe(**fields), None),
        ("train", train, asked.model),
        ("evaluate", Validate(**fields, layout=layout), asked.model),
    ]


def test_a_private_study_is_not_asked_for_numbers(asked: Asked) -> None:
    for question in open_questions(asked, asked.study):
        assert asked.ask(*question) == "WR-1715"
    for question in open_questions(asked, asked.consortium.open_study):
        assert asked.ask(*question) == ""


def test_an_open_study_has_no_secure_sum(asked: Asked) -> None:
    study = asked.consortium.open_study
    for kind in (ADVERTISE, JOIN, UPLOAD, CONFIRM, OPEN, ENDED):
        content = bytes(141) if kind == UPLOAD else asked.offer()
        assert asked.private(kind, content, study=study) in {"WR-1705", "WR-1701"}
    assert asked.private(ADVERTISE, asked.offer(), study=study) == "WR-1705"
    assert asked.advertise() == ""


def test_policy_decides_which_modes_a_site_takes_part_in(asked: Asked) -> None:
    questions = open_questions(asked, asked.consortium.open_study)
    asked.policy(policy_of(modes=("private",)))
    assert [asked.ask(*question) for question in questions] == ["WR-1712"] * 3
    assert asked.advertise() == ""
    asked.policy(policy_of(modes=("open",)))
    assert [asked.ask(*question) for question in questions] == [""] * 3
    assert asked.advertise(session=2) == "WR-1712"


def test_the_default_policy_wants_a_promise_to_patients(asked: Asked) -> None:
    asked.policy(Policy())
    assert asked.advertise("first") == "WR-1809"
    asked.policy(policy_of())  # the positive control
    assert asked.advertise("first") == ""


def test_policy_decides_on_strength_and_cohort(tmp_path: Path) -> None:
    weak = Asked(tmp_path / "weak", aggregation={"secure": {"update_rms": 2e-3, "strength": "semi-honest"}})
    weak.policy(policy_of())
    assert weak.advertise() == "WR-1712"
    strong = Asked(tmp_path / "strong")
    for policy, code in (
        (policy_of(min_sites=4), "WR-1712"),
        (policy_of(colluding=1), "WR-1712"),
        (policy_of(colluding=0), ""),
    ):
        strong.policy(policy)
        assert strong.advertise() == code
    strong.policy(policy_of(colluding=1, runs_per_study=2))
    assert strong.advertise(run="careful", colluding=1) == ""


def test_a_second_run_of_a_study_needs_the_policys_word(asked: Asked) -> None:
    asked.policy(policy_of())
    assert asked.advertise("first") == ""
    uploaded(asked, "first")
    assert asked.advertise("second") == "WR-1712"
    assert asked.advertise("first", session=2) == ""
    asked.policy(policy_of(runs_per_study=2))
    assert asked.advertise("second") == ""
    uploaded(asked, "second")
    assert asked.advertise("third") == "WR-1712"


def uploaded(asked: Asked, run: str) -> None:
    """A masked update of this run is outside."""
    home = Home(asked.consortium.homes[SITE])
    with run_files(home, asked.study.id, StudyRunId(run), os.urandom) as files:
        files.commit({model_record(os.urandom(32)): ModelRecord(1, 1).encode()})


def test_a_run_that_ended_before_anything_left_does_not_count(asked: Asked) -> None:
    asked.policy(policy_of())
    assert asked.advertise("first") == ""
    assert asked.advertise("second") == ""
    assert asked.advertise("first", session=2) == "WR-1712"  # it was left for good
    uploaded(asked, "second")
    assert asked.advertise("third") == "WR-1712"


def test_an_offer_that_is_refused_is_not_counted_as_a_run(asked: Asked) -> None:
    asked.policy(policy_of(colluding=1))
    assert asked.advertise("first") == "WR-1712"
    asked.policy(policy_of())
    assert asked.advertise("second") == ""


def test_steps_out_of_order_are_refused(asked: Asked) -> None:
    upload = bytes(136) + b"\x10" + bytes(4)
    steps = ((JOIN, b""), (UPLOAD, upload), (CONFIRM, b""), (OPEN, b""), (ENDED, b""))
    assert {asked.private(kind, content) for kind, content in steps} == {"WR-1706"}
    assert asked.advertise() == ""
    assert {asked.private(kind, content) for kind, content in steps[1:]} == {"WR-1706"}
    assert asked.private(JOIN, b"") == "WR-1701"


def test_records_that_vanished_are_refused(asked: Asked) -> None:
    assert asked.advertise() == ""
    (asked.consortium.homes[SITE] / "secagg" / "run.sqlite").unlink()
    assert asked.private(JOIN, b"") == "WR-1714"
    assert asked.advertise(session=2) == "WR-1714"
    assert asked.advertise("other") == ""


def test_replies_hold_the_site_and_bytes_of_the_protocol_alone(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=1), tmp_path)
    grid, _ = watched(consortium)
    kinds: dict[str, set[str]] = {}

    def after(message: Message, reply: Message) -> None:
        fields = reply.content[FIELDS]
        kinds.setdefault(message.metadata.message_type, set()).update(fields)

    grid.after = after
    consortium.coordinate(grid)
    assert kinds.pop("query.hello") == {"site"}
    assert set(kinds) == {ADVERTISE, JOIN, UPLOAD, CONFIRM, OPEN, FINISHED}
    assert all(fields == {"site", "content"} == set(ProtocolReply.model_fields) for fields in kinds.values())


def test_why_training_failed_stays_at_the_site(tmp_path: Path) -> None:
    scenario = private_scenario(3, rounds=2, training={"optimizer": "sgd", "learning_rate": 1e30})
    consortium = Consortium.of(scenario, tmp_path)
    grid, _ = watched(consortium)
    with pytest.raises(WardroundError) as refused:
        consortium.coordinate(grid)
    assert refused.value.code == "WR-1711"
    title = REGISTRY["WR-1203"].title
    assert f"site0: WR-1203: {title};" in refused.value.what
    assert "steps" not in refused.value.what
    refusals = [line for line in consortium.journal("site0") if line["event"] == "refused"]
    assert refusals[0]["code"] == "WR-1203"
    assert "steps" in refusals[0]["words"]


def test_a_home_answers_with_randomness_that_only_a_constructor_can_give(asked: Asked) -> None:
    """Two objects on two homes with the same injected bytes make the same keys; no setting does."""
    drawn: list[int] = []

    def counting(length: int) -> bytes:
        drawn.append(length)
        return bytes([len(drawn)]) * length

    hospital = Hospital(asked.consortium.hospitals[SITE].home, {})
    question = ProtocolMessage(**asked.fields(asked.study), content=asked.offer())
    PrivateRounds(hospital, counting).advertise(question)
    assert drawn == [32, 32]
    again = asked.reply(ADVERTISE, question)
    assert unpack(ProtocolReply, again.content).content == PrivateRounds(hospital).advertise(question).content
    assert drawn == [32, 32], "the advert is stored: no second pair of keys"
