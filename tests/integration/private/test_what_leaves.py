"""What approval says that leaves is what a run makes leave: kinds, fields, bytes and how often."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from fakes.private_runs import WatchedGrid, private_scenario
from fakes.promised_runs import Promised, promised_scenario
from fakes.scenarios import chest_scenario
from flwr.app import ConfigRecord

from wardround.client.app import app
from wardround.client.egress import reply_bytes
from wardround.client.studies.leaving import FIELD_WORDS, amounts, leaving
from wardround.client.studies.work import layout_of
from wardround.common.ids import SiteId
from wardround.common.wire import private
from wardround.common.wire.kinds import checked_reply
from wardround.common.wire.records import FIELDS, VECTOR, carried

if TYPE_CHECKING:
    from pathlib import Path

    from flwr.app import Message, RecordDict

NORTH = SiteId("north")
ROUNDS = 2
NUMBERS = 150
"""Bytes by which numbers can be shorter than the longest of their kind."""


@dataclass
class Seen:
    """Replies of one kind from one hospital."""

    fields: set[str] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)

    def add(self, kind: str, content: RecordDict) -> None:
        fields = content[FIELDS]
        assert isinstance(fields, ConfigRecord)
        self.fields |= set(fields)
        vector = len(carried(content).data) if VECTOR in content else 0
        self.sizes.append(reply_bytes(checked_reply(kind, fields)) + vector)


def watched(scenario: Any, folder: Path) -> tuple[Promised, dict[str, Seen]]:
    """Run a study and look at everything that its first hospital sends."""
    consortium, seen = Promised.of(scenario, folder), defaultdict[str, Seen](Seen)

    def after(message: Message, reply: Message) -> None:
        assert not reply.has_error(), reply.error.reason
        if grid.site(message) == consortium.study.site_ids[0]:
            assert set(reply.content) <= {FIELDS, VECTOR}
            seen[message.metadata.message_type].add(message.metadata.message_type, reply.content)

    grid = WatchedGrid(consortium, after=after)  # type: ignore[arg-type] # it asks for the homes alone
    consortium.coordinate(grid)
    return consortium, seen


SCENARIOS = {
    "open": lambda: chest_scenario(training={"rounds": ROUNDS, "epochs": ROUNDS}),
    "open with a promise": lambda: promised_scenario(3, ROUNDS, trust="local"),
    "private": lambda: private_scenario(3, ROUNDS),
    "private with a promise at each hospital": lambda: promised_scenario(3, ROUNDS, trust="local", mode="private"),
    "private with a promise in the sum": lambda: promised_scenario(3, ROUNDS),
}


@pytest.mark.parametrize("kind", SCENARIOS)
def test_nothing_leaves_that_approval_did_not_name(kind: str, tmp_path: Path) -> None:
    consortium, seen = watched(SCENARIOS[kind](), tmp_path)
    site = consortium.study.site_ids[0]
    messages = leaving(consortium.study, consortium.layout, site)
    named = {message.kind: message for message in reversed(messages)}  # of two, the one of every round
    assert seen
    assert set(seen) <= set(named)
    for name, found in seen.items():
        message = named[name]
        known = {word for word, text in FIELD_WORDS.items() if text in message.fields} | {"content"}
        assert found.fields <= known
        assert max(found.sizes) <= message.size
        if name != private.OPEN:  # with nobody lost, it is shorter than it may be
            assert max(found.sizes) >= message.size - NUMBERS
    (largest,) = (message for message in named.values() if message.vector)
    training = [size for size in seen[largest.kind].sizes if largest.size - NUMBERS <= size <= largest.size]
    assert len(training) == ROUNDS
    assert amounts(consortium.study, messages, site, "consortium").round >= largest.size


def test_every_kind_that_the_hospital_answers_is_named_for_some_study() -> None:
    studies = [make().study for make in SCENARIOS.values()]
    named = {message.kind for study in studies for message in leaving(study, layout_of(study), NORTH)}
    assert named == {name.removesuffix(".default") for name in app._registered_funcs}


def test_scoring_is_named_where_policy_allows_it() -> None:
    study = SCENARIOS["private"]().study
    told = [
        [message.kind for message in leaving(study, layout_of(study), NORTH, scored=scored)] for scored in (False, True)
    ]
    assert [kind for kind in told[1] if kind not in told[0]] == ["evaluate.score"]
