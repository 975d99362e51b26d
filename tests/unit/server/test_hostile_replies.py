"""The coordinator against hostile and broken sites: one of them is left out, and the run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.scripted_grid import ScriptedGrid, honest, honest_content, message_to
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, Metadata, RecordDict

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.study import build_study
from wardround.common.wire.records import FIELDS, VECTOR
from wardround.server.coordinate import Coordinator
from wardround.server.enrol import connected_sites
from wardround.server.plan import RunPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.scripted_grid import Script

    from wardround.server.rounds.engine import RoundEngine

GOOD, BAD = SiteId("good"), SiteId("bad")


def plan(out: Path, rule: str = "last") -> RunPlan:
    study = build_study(
        {
            "schema": 1,
            "name": "small",
            "title": "Small",
            "sites": ["good", "bad"],
            "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
            "input": {"size": [16, 16]},
            "model": {"name": "small_cnn", "parameters": {"widths": [8]}},
            "training": {"rounds": 2, "epochs": 2, "loss": "bce"},
            "selection": {"rule": rule},
        }
    )
    return RunPlan(study=study, run="run", out=out)


def coordinate(script: Script, out: Path, rule: str = "last") -> RoundEngine:
    grid = ScriptedGrid([GOOD, BAD], {BAD: script})
    return Coordinator(grid, plan(out, rule), connected_sites(grid)).run()


def lying(kind: str, lie: Callable[[RecordDict], RecordDict | None]) -> Script:
    """Honest but for one kind of message, whose reply is changed; None is an error without a reason."""

    def script(grid: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        if message.metadata.message_type != kind:
            return honest(grid, site, message)
        content = lie(honest_content(site, message))
        return [Message(Error(1), reply_to=message) if content is None else message_to(message, content)]

    return script


def changed(**fields: Any) -> Callable[[RecordDict], RecordDict]:
    def lie(content: RecordDict) -> RecordDict:
        content[FIELDS] = ConfigRecord(dict(content.config_records[FIELDS]) | fields)
        return content

    return lie


def vector(make: Callable[[int], bytes], stype: str = "wardround.float32.le") -> Callable[[RecordDict], RecordDict]:
    def lie(content: RecordDict) -> RecordDict:
        size = len(content.array_records[VECTOR][VECTOR].data) // 4
        content[VECTOR] = ArrayRecord({VECTOR: Array("float32", (size,), stype, make(size))})
        return content

    return lie


def forged(question: Message, node: int, content: RecordDict) -> Message:
    """A reply to a question that another node was asked."""
    asked = question.metadata
    metadata = Metadata(
        run_id=asked.run_id,
        message_id="",
        src_node_id=node,
        dst_node_id=asked.src_node_id,
        reply_to_message_id=asked.message_id,
        group_id=asked.group_id,
        created_at=asked.created_at,
        ttl=asked.ttl,
        message_type=asked.message_type,
    )
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload,no-any-return]


def filled(value: float) -> Callable[[int], bytes]:
    return lambda size: np.full(size, value, dtype="<f4").tobytes()


def test_honest_sites_lose_nothing(tmp_path: Path) -> None:
    engine = coordinate(honest, tmp_path, "validation")
    assert [record.sites for record in engine.history.rounds] == [(BAD, GOOD)] * 2
    assert not any(record.dropped for record in engine.history.rounds)
    assert engine.chosen().round == 1


@pytest.mark.parametrize(
    "lie",
    [
        lambda _: RecordDict({}),
        lambda _: None,
        changed(site="good"),
        changed(round=2**40),
        changed(loss=float("nan")),
        changed(loss=1e308, seconds=1e308),
        changed(patients=2**53),
        changed(samples=2**53),
        changed(samples=2**60),
        changed(more=1),
        changed(patients="4"),
        vector(lambda _: b""),
        vector(lambda size: b"\0" * (4 * size + 4)),
        vector(filled(0.0), stype="numpy.ndarray"),
        vector(filled(float("nan"))),
        vector(filled(3.4e38)),
    ],
)
def test_an_unusable_update_leaves_its_site_out(lie: Any, tmp_path: Path) -> None:
    engine = coordinate(lying("train", lie), tmp_path)
    for record in engine.history.rounds:
        assert record.sites == (GOOD,)
        assert set(record.dropped) == {BAD}
    assert np.isfinite(engine.chosen().model).all()


@pytest.mark.parametrize(
    "lie",
    [
        lambda _: RecordDict({}),
        lambda _: None,
        changed(site="good"),
        changed(loss=float("nan")),
        changed(loss=1e308),
        changed(metric="x"),
    ],
)
def test_an_unusable_validation_leaves_its_site_out_and_is_noted(lie: Any, tmp_path: Path) -> None:
    engine = coordinate(lying("evaluate", lie), tmp_path, "validation")
    assert set(engine.history.rounds[-1].dropped) == {BAD}
    assert set(engine.history.validations[-1].loss) == {GOOD}


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda _: None, "WR-1306"),
        (lambda _: RecordDict({}), "WR-1301"),
        (changed(site="good"), "WR-1301"),
        (changed(samples=-1), "WR-1301"),
        (changed(samples=0), "WR-1306"),
        (changed(patients=0), "WR-1306"),
    ],
)
def test_a_site_that_does_not_describe_its_data_stops_the_run_before_training(
    lie: Any, code: str, tmp_path: Path
) -> None:
    with pytest.raises(WardroundError, match="bad") as refused:
        coordinate(lying("query.describe", lie), tmp_path)
    assert refused.value.code == code


def test_two_nodes_cannot_be_one_site(tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as refused:
        coordinate(lying("query.hello", changed(site="good")), tmp_path)
    assert refused.value.code == "WR-1306"


def test_repeated_late_and_unasked_replies_answer_nothing(tmp_path: Path) -> None:
    def repeating(grid: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        earlier = [message_to(old, honest_content(site, old)) for old in grid.asked[:3]]
        once = honest(grid, site, message)
        return [*earlier, *once, *once]

    engine = coordinate(repeating, tmp_path)
    assert [record.sites for record in engine.history.rounds] == [(BAD, GOOD)] * 2


def test_a_site_cannot_answer_for_another_node(tmp_path: Path) -> None:
    def stealing(grid: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        if message.metadata.message_type != "train":
            return honest(grid, site, message)
        return [forged(message, grid.nodes[GOOD], honest_content(site, message))]

    engine = coordinate(stealing, tmp_path)
    assert [set(record.dropped) for record in engine.history.rounds] == [{BAD}, {BAD}]


def test_a_peers_reason_is_shortened_and_printable(tmp_path: Path) -> None:
    def shouting(grid: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        if message.metadata.message_type != "train":
            return honest(grid, site, message)
        return [Message(Error(1300, "\x1b[2Jno" + "!" * 10**6), reply_to=message)]

    reason = coordinate(shouting, tmp_path).history.rounds[0].dropped[BAD]
    assert reason.isprintable()
    assert "no!!!" in reason
    assert len(reason) <= 500
