"""A hospital against a coordinator that asks for what it must not get: refused with a code, nothing raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.scenarios import chest_scenario

from wardround.common.ids import SiteId
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.vector import Layout
from wardround.common.wire.messages import Describe, Score, Train, Trained, Validate
from wardround.common.wire.records import FIELDS, pack, pack_vector, unpack
from wardround.common.wire.vectors import unpack_vector
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import build_hospitals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flwr.app import ArrayRecord, Message, RecordDict

    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.simulations.hospitals import VirtualHospital

NORTH = SiteId("north")


class Site:
    """One hospital that approved one study, and a coordinator's questions to it."""

    def __init__(self, hospitals: Mapping[SiteId, VirtualHospital], study: Study) -> None:
        self.home = hospitals[NORTH].home
        self.study = study
        state = state_arrays(build_model(study, seed=0))
        layout = Layout.of(state)
        self.vector = layout.flatten(state)
        run: dict[str, Any] = {"study": study.id, "run": "run", "seed": 0}
        work: dict[str, Any] = {"round": 1, "rounds": study.training.rounds, "start": 0, "samples": 8}
        self.train: dict[str, Any] = run | {"layout": layout.hash} | work
        self.score: dict[str, Any] = run | {"layout": layout.hash, "part": "test"}

    def ask(self, kind: str, content: RecordDict) -> Message:
        grid = InProcessGrid({NORTH: self.home.path})
        message = grid.create_message(content, kind, grid.nodes[NORTH], "1")
        return next(iter(grid.send_and_receive([message])))

    def trained(self, vector: Vector | None = None, **changes: Any) -> Message:
        sent = pack_vector(self.vector if vector is None else vector)
        return self.ask("train", with_fields(Train(**self.train), changes, sent))

    def update(self, number: int) -> bytes:
        reply = self.trained(round=number, start=8 * (number - 1))
        assert unpack(Trained, reply.content).round == number
        return unpack_vector(reply.content, self.vector.size).tobytes()


def with_fields(question: Train | Score, changes: dict[str, Any], vector: ArrayRecord) -> RecordDict:
    content = pack(question, vector)
    for name, value in changes.items():
        content.config_records[FIELDS][name] = value
    return content


@pytest.fixture
def site(tmp_path: Path) -> Site:
    scenario = chest_scenario(split={"validation": 0.2, "test": 0.4})
    hospitals = build_hospitals(scenario, None, tmp_path, device="cpu", threads=1, progress=lambda _: None)
    hospitals[NORTH].home.approve(scenario.study)
    return Site(hospitals, scenario.study)


def refusal(reply: Message) -> str:
    assert reply.has_error()
    return str(reply.error.reason)[:7]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"study": "sha256:" + "0" * 64}, "WR-1304"),
        ({"study": "sha256:../../hospital"}, "WR-1301"),
        ({"study": "sha256:" + "0" * 5000}, "WR-1301"),
        ({"run": "../../run"}, "WR-1301"),
        ({"layout": "sha256:other"}, "WR-1301"),
        ({"fold": 1}, "WR-1301"),
        ({"folds": 101}, "WR-1301"),
        ({"round": 4}, "WR-1301"),
        ({"rounds": 2}, "WR-1301"),
        ({"seed": -1}, "WR-1301"),
        ({"samples": 0}, "WR-1301"),
        ({"more": "x"}, "WR-1301"),
    ],
)
def test_wrong_instructions_are_refused(site: Site, changes: dict[str, Any], code: str) -> None:
    assert refusal(site.trained(**changes)) == code
    assert not site.trained().has_error()


def test_models_that_are_not_finite_are_refused(site: Site) -> None:
    hopeless = np.full_like(site.vector, np.nan)
    assert refusal(site.trained(hopeless)) == "WR-1203"
    sent = pack_vector(hopeless)
    fields = {key: value for key, value in site.score.items() if key != "part"}
    assert refusal(site.ask("evaluate", pack(Validate(**fields), sent))) == "WR-1203"
    assert refusal(site.ask("evaluate.score", pack(Score(**site.score), sent))) == "WR-1203"
    assert not site.ask("evaluate.score", pack(Score(**site.score), pack_vector(site.vector))).has_error()


@pytest.mark.parametrize("values", [0, 1, 10**6])
def test_models_of_another_size_are_refused(site: Site, values: int) -> None:
    assert refusal(site.trained(np.zeros(values, np.float32))) == "WR-1301"


def test_messages_of_another_kind_are_refused(site: Site) -> None:
    question = Describe(study=site.study.id, run=site.train["run"], seed=0)
    assert refusal(site.ask("train", pack(question))) == "WR-1301"
    assert not site.ask("query.describe", pack(question)).has_error()


def test_a_run_started_again_trains_as_the_first_time(site: Site) -> None:
    """The optimizer's state of round 2 must not leak into a second round 1."""
    first = [site.update(1), site.update(2)]
    assert [site.update(1), site.update(2)] == first
    assert first[0] != first[1]


def test_a_repeated_question_gets_the_same_update(site: Site) -> None:
    assert site.update(1) == site.update(1)


def test_registering_other_data_replaces_what_is_resident(site: Site, tmp_path: Path) -> None:
    question = pack(Describe(study=site.study.id, run=site.train["run"], seed=0))
    before = site.ask("query.describe", question).content.config_records[FIELDS]["patients"]
    larger = chest_scenario(
        simulation={
            "sites": [
                {"name": name, "patients": 40, "prevalence": 0.5} for name in ("north", "coast", "valley", "island")
            ]
        }
    )
    build_hospitals(larger, None, tmp_path, device="cpu", threads=1, progress=lambda _: None)
    after = site.ask("query.describe", question).content.config_records[FIELDS]["patients"]
    assert (before, after) == (8, 16)
