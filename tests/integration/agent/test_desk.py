"""What the agent makes of a message before its worker sees it: whose approval it rests on, and what lies in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from fakes.agents import one_hospital
from flwr.app import DEFAULT_TTL, Array, ArrayRecord, ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message import make_message

from wardround.client.agent.desk import Desk
from wardround.client.agent.warm import Worker
from wardround.client.identity import ROSTER, accept_roster, accepted_roster, site_key, stored_key
from wardround.client.proposals import keep_decision, keep_proposal
from wardround.common.consortium.studies import Decision, Proposal, SignedProposal
from wardround.common.release import BUNDLES
from wardround.common.roster import Member, Roster, SignedRoster
from wardround.common.wire.messages import Describe, Validate
from wardround.common.wire.records import RAW_FLOAT32, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.client.federation import Connection
    from wardround.client.home import Home
    from wardround.common.crypto.signing import SigningKey
    from wardround.common.study import Study

NOBODY = cast("Connection", None)
"""No message here pays for anything, so no witness is asked."""


@dataclass
class Scene:
    """A hospital that has had two consortia, and its desk."""

    home: Home
    study: Study
    desk: Desk
    worker: Worker
    first: SigningKey
    second: SigningKey

    def join(self, authority: SigningKey) -> None:
        """Leave any consortium, and accept the roster of this one's authority."""
        (self.home.path / ROSTER).unlink()
        member = Member(key=site_key(self.home).public.hex())
        roster = Roster(consortium="lungs", version=1, members={self.home.site: member})
        accept_roster(self.home, SignedRoster.sign(roster, authority), by="A. Tester")

    def propose(self, authority: SigningKey) -> None:
        """Have the study proposed by the authority whose roster is accepted."""
        asked = Proposal(
            consortium=accepted_roster(self.home).consortium,
            study=self.study.canonical().decode(),
            by="A. Tester",
            at=int(time.time()),
        )
        keep_proposal(self.home, SignedProposal.sign(asked, authority))

    def decide(self, verdict: str, authority: SigningKey | None) -> None:
        """What people decided, about the proposal of this authority; None: as decisions were before they named it."""
        fields: dict[str, Any] = {"consortium": "lungs", "site": self.home.site, "study": self.study.id, "at": 1}
        named = {} if authority is None else {"authority": authority.public.hex()}
        keep_decision(self.home, Decision(**fields, **named, verdict=verdict, by="A. Tester"))

    def answer(self, content: RecordDict | None = None, kind: str = "query.describe") -> Message:
        asked = pack(Describe(study=self.study.id, run="run", seed=0)) if content is None else content
        metadata = Metadata(1, "question", 1, 2, "", "", time.time(), DEFAULT_TTL, kind)
        return self.desk.answer(make_message(metadata, content=asked), NOBODY, lambda _: next(iter(BUNDLES)))

    def reason(self, *asked: Any) -> str:
        found: str = self.answer(*asked).error.reason
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("desk")
    home, study = one_hospital(folder)
    worker = Worker(home.path)
    authorities = [stored_key(folder / f"{name}.key") for name in ("first", "second")]
    yield Scene(home, study, Desk(home, worker), worker, *authorities)
    worker.stop()


def test_an_approval_counts_for_the_consortium_that_it_was_given_in(scene: Scene) -> None:
    scene.join(scene.first)
    scene.propose(scene.first)
    scene.decide("approved", scene.first)
    scene.join(scene.second)
    assert scene.reason().startswith("WR-1304")  # neither proposed there, nor approved for it
    scene.propose(scene.second)
    assert scene.reason().startswith("WR-1304")
    scene.decide("approved", None)
    assert scene.reason().startswith("WR-1304")
    scene.decide("rejected", scene.second)
    assert scene.reason().startswith("WR-1304")
    scene.decide("approved", scene.second)
    assert scene.answer().content["message"]["site"] == "north"  # the positive control
    scene.join(scene.first)
    assert scene.reason().startswith("WR-1304")


def test_a_consortium_that_proposed_nothing_is_answered_nothing(scene: Scene) -> None:
    """People cannot have approved what they were not shown, whatever a decision's file says."""
    scene.join(scene.first)
    for path in (scene.home.path / "proposals").glob("*.json"):
        path.unlink()
    scene.decide("approved", scene.first)
    assert scene.reason().startswith("WR-1304")
    scene.propose(scene.first)
    assert scene.answer().content["message"]["site"] == "north"  # the positive control


def with_vector(fields: RecordDict, **false: Any) -> RecordDict:
    """With an array that says of itself what no array is."""
    fields["vector"] = ArrayRecord({"vector": Array("float32", (1,), RAW_FLOAT32, bytes(4))})
    fields["vector"]["vector"].__dict__.update(false)  # type: ignore[union-attr]
    return fields


ONE = Array(np.ones(1, dtype=np.float32))
MALFORMED: dict[str, Any] = {
    "nothing": lambda _: RecordDict(),
    "something beside": lambda fields: RecordDict({**fields, "more": ConfigRecord({"a": 1})}),
    "fields of other types": lambda _: RecordDict({"message": ConfigRecord({"study": b"\x00", "run": [1.5]})}),
    "two vectors": lambda fields: RecordDict({**fields, "vector": ArrayRecord({"vector": ONE, "another": ONE})}),
    "a vector of too few values": with_vector,
    "an array of no type": lambda fields: with_vector(fields, dtype={"hex": "no"}),
    "an array of no shape": lambda fields: with_vector(fields, shape=({"hex": "no"}, float("nan"))),
    "an array of half a letter": lambda fields: with_vector(fields, stype="\ud800"),
    "a header that is too long": lambda fields: with_vector(fields, stype="x" * (1 << 26)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_message_is_answered_with_one_error(case: str, scene: Scene) -> None:
    scene.join(scene.second)
    scene.propose(scene.second)
    scene.decide("approved", scene.second)
    question = pack(Validate(study=scene.study.id, run="run", seed=0, layout="0" * 64))
    code = scene.reason(MALFORMED[case](question), "evaluate")[:7]
    assert code in {"WR-1301", "WR-1917", "WR-1925"}
    assert scene.answer().content["message"]["site"] == "north"  # the positive control: the next one is as ever
