"""Full runs with planted identifiers: none of them leaves a hospital, by no way, in no mode; and the search finds them.

The gateway writes down every byte that reaches it. Identifiers are patients, names of files, of folders and of the
home itself, columns of tables, texts inside images, and the environment of the agents.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from fakes.agents import agents, decide, hospitals, join_all
from fakes.canaries import MARK, Canaries, Tap, files_with, hidden, search
from fakes.federated import federated
from fakes.scenarios import chest_scenario
from flwr.app import Context, RecordDict

from wardround.client.agent.environment import KEPT
from wardround.client.egress import Line, read_egress
from wardround.client.studies.leaving import amounts, leaving
from wardround.client.studies.work import layout_of
from wardround.common.privacy import pld
from wardround.common.wire.messages import Describe
from wardround.server.app import app as coordinator_app
from wardround.server.exchange import ask
from wardround.server.plan import PLAN_KEY, RunPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.federated import Federated

    from wardround.client.home import Home
    from wardround.common.study import Study
    from wardround.server.flower import RuntimeGrid

ROUNDS = {"rounds": 2}
MODES: dict[str, dict[str, Any]] = {
    "open": {"training": ROUNDS, "selection": {"rule": "last"}},
    "private": {
        "training": ROUNDS,
        "selection": {"rule": "last"},
        "aggregation": {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}},
    },
    "noisy": {
        "training": ROUNDS | {"optimizer": "sgd", "momentum": 0.0, "augmentation": []},
        "selection": {"rule": "last"},
        "aggregation": {"mode": "open", "weights": "equal"},
        "privacy": {"trust": "local", "epsilon": 8.0, "patients": 20, "rate": 0.5},
    },
}


@dataclass
class Scene:
    """Three hospitals full of identifiers, and their coordinator."""

    folder: Path
    stand: Federated
    homes: dict[str, Home]
    studies: dict[str, Study]
    canaries: Canaries
    tap: Tap

    @property
    def surroundings(self) -> dict[str, Any]:
        """How the agents are started: their environment is full of identifiers too."""
        planted = {f"PLANTED_{number}": self.canaries.text() for number in range(50)}
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        places = {name: str(self.outside(name)) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
        return {"environment": planted | kept | places, "folder": self.outside("cwd")}

    def outside(self, name: str) -> Path:
        """A folder outside of the hospitals' homes in which libraries might leave something."""
        found = self.folder / "outside" / name.lower()
        found.mkdir(parents=True, exist_ok=True)
        return found

    def run(self, mode: str, grid: RuntimeGrid) -> None:
        """A study from its beginning to its end, as the coordinator runs it."""
        out = self.folder / "coordinator" / "runs" / mode
        out.mkdir(parents=True)
        roster = self.stand.consortium.store.newest_roster()
        plan = RunPlan(study=self.studies[mode], run=f"run-{mode}", out=out, roster=roster)
        path = out / "plan.json"
        path.write_text(plan.model_dump_json(by_alias=True))
        coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(path)}))

    def describe(self, grid: RuntimeGrid, run: str) -> str | None:
        """Ask a hospital how much data it has; why it does not say."""
        question = Describe(study=self.studies["open"].id, run=run, seed=0)
        nodes = {site: node for site, node in self.stand.gateway.nodes().items() if site == "north"}
        (answer,) = ask(grid, "query.describe", dict.fromkeys(nodes, question), nodes, group="0")
        return answer.reason


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    canaries, tap = Canaries(), Tap()
    folder = tmp_path_factory.mktemp("canaries")
    place = folder / f"hospitals-{canaries.text()}"
    patch = pytest.MonkeyPatch()
    server = grpc.aio.server
    patch.setattr(grpc.aio, "server", lambda **how: server(**how, interceptors=[tap]))
    scenarios = {mode: chest_scenario(name=f"small-{mode}", **fields) for mode, fields in MODES.items()}
    homes = hospitals(place, scenarios["open"])
    for site, home in homes.items():
        canaries.plant(place / "sites" / site)
        for scenario in scenarios.values():
            home.approve(scenario.study)
        for path in (home.path / "cache").rglob("*"):
            if path.is_file():
                path.unlink()  # made before anything was planted
    with federated(folder) as stand:
        join_all(stand, homes)
        decide(stand, homes.values(), *(scenario.study for scenario in scenarios.values()))
        studies = {mode: scenario.study for mode, scenario in scenarios.items()}
        yield Scene(folder, stand, homes, studies, canaries, tap)
    patch.undo()


@pytest.mark.parametrize("way", hidden("x"))
def test_the_search_sees_through(way: str) -> None:
    canaries = Canaries()
    noise = os.urandom(1000)
    assert search(noise + hidden(canaries.text())[way] + noise, canaries)
    assert not search(noise + hidden("nothing of interest")[way] + noise, canaries)


@pytest.fixture(scope="module")
def left(scene: Scene) -> dict[str, list[Line]]:
    """What left the first hospital in the run of each mode, with the agent's own calls from its begin to its end."""
    home, found = scene.homes["north"], dict[str, list[Line]]()
    with agents(scene.homes.values(), **scene.surroundings):
        grid = scene.stand.grid()
        for mode in MODES:
            if mode == "noisy":
                for other in scene.homes.values():
                    other.ledger.set_limit(100.0, 1e-5, admin="A. Tester", reason="test", now=datetime.now(UTC))
            before = len(read_egress(home.path))
            scene.run(mode, grid)
            found[mode] = read_egress(home.path)[before:]
        grid.finish(completed=True)
    return found


def test_no_identifier_leaves_in_any_mode(scene: Scene, left: dict[str, list[Line]]) -> None:
    assert scene.canaries.count >= 1500
    assert {line.kind for lines in left.values() for line in lines} >= {"train", "train.private", "train.noisy"}
    check_nothing_left(scene)


@pytest.mark.parametrize("mode", MODES)
def test_no_more_leaves_than_people_were_shown(mode: str, scene: Scene, left: dict[str, list[Line]]) -> None:
    home, study = scene.homes["north"], scene.studies[mode]
    messages = leaving(study, layout_of(study), home.site)
    most = amounts(study, messages, home.site, scene.stand.consortium.name)
    sizes = [line.bytes for line in left[mode]]
    assert "train" in {line.kind.partition(".")[0] for line in left[mode]}
    assert 0.5 * most.study < sum(sizes) + most.decision <= most.study
    ours = [line.bytes for line in left[mode] if line.study == study.id]
    named = sum(message.size * (2 if message.when == "round" else 1) for message in messages)
    assert 0.9 * named < sum(ours) <= named


def test_no_identifier_leaves_when_something_goes_wrong(scene: Scene) -> None:
    north = scene.homes["north"]
    site = scene.folder / next(scene.folder.glob("hospitals-*")).name / "sites" / "north"
    said: list[str | None] = []
    with agents([north], **scene.surroundings) as running:
        grid = scene.stand.grid()
        for damage in (_missing_table, _damaged_images, _wrong_labels, _folder_in_the_way):
            with damage(site, north):
                _crash(_worker_of(running.processes["north"].pid))  # memory, images in it, is lost
                said.append(scene.describe(grid, f"run-{damage.__name__.strip('_')}"))
        grid.finish(completed=True)
    assert [str(reason)[:7] for reason in said] == ["WR-1103", "WR-1107", "WR-1110", "WR-1925"], said
    assert MARK in (north.path / "faults.log").read_text()  # at the hospital its people can read it
    check_nothing_left(scene)


def test_lines_say_what_a_run_has_cost_so_far(scene: Scene, left: dict[str, list[Line]]) -> None:
    costs = [line.epsilon for line in left["noisy"] if line.kind == "train.noisy"]
    promise = scene.studies["noisy"].promise
    assert costs == [pld.epsilon(promise.step, number, promise.delta) for number in (1, 2)]
    assert promise.epsilon == pytest.approx(costs[-1], rel=0.01)
    assert {line.epsilon for line in left["open"] if line.kind == "train"} == {"infinite"}


@contextmanager
def _missing_table(site: Path, _home: Home) -> Iterator[None]:
    (site / "table.csv").rename(site / "elsewhere.csv")
    yield
    (site / "elsewhere.csv").rename(site / "table.csv")


@contextmanager
def _damaged_images(site: Path, _home: Home) -> Iterator[None]:
    images = {path: path.read_bytes() for path in (site / "images").rglob("*.png")}
    for path, content in images.items():
        path.write_bytes(content[: len(content) // 2])
    yield
    for path, content in images.items():
        path.write_bytes(content)


@contextmanager
def _wrong_labels(site: Path, _home: Home) -> Iterator[None]:
    table = site / "table.csv"
    text = table.read_text()
    table.write_text(text.replace(",1,", f",{MARK}000001,"))
    yield
    table.write_text(text)


@contextmanager
def _folder_in_the_way(_site: Path, home: Home) -> Iterator[None]:
    approvals = list((home.path / "studies").glob("*.json"))
    contents = [path.read_bytes() for path in approvals]
    for path in approvals:
        path.unlink()
        path.mkdir()
    yield
    for path, content in zip(approvals, contents, strict=True):
        path.rmdir()
        path.write_bytes(content)


def _crash(process: int) -> None:
    """End a process by SIGSEGV; it is dead on return, so that nobody gives it another message."""
    os.kill(process, signal.SIGSEGV)
    end = time.monotonic() + 60
    with suppress(FileNotFoundError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < end, "the process does not end"
            time.sleep(0.01)


def _worker_of(agent: int) -> int:
    """The process that an agent has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] == str(agent):
                return int(path.parent.name)
    raise AssertionError("the agent has no worker")


def check_nothing_left(scene: Scene) -> None:
    wire = scene.tap.everything
    assert b"north" in wire  # it is the wire that is searched
    assert b"/flwr.proto.Fleet/PushObject" in wire
    assert search(wire, scene.canaries) == []
    assert files_with([scene.folder / "coordinator", scene.folder / "outside"], scene.canaries) == []
    for home in scene.homes.values():
        texts = [home.path / name for name in ("agent.log", "status.json", "egress.jsonl", "worker.log")]
        texts += [home.path.with_suffix(".out")]
        assert [path.name for path in texts if search(path.read_bytes(), scene.canaries)] == []
        assert files_with([home.path / "worker", home.path / "cache"], scene.canaries) == []
        assert list(home.path.glob("core*")) == []


LEAK = f"""
import dataclasses
from wardround.client.agent import warm
ask = warm.Worker.ask
def leaking(self, question, vector=b""):
    reply, body = ask(self, question, vector)
    return dataclasses.replace(reply, fields={{**(reply.fields or {{}}), "note": "{MARK}999999"}}, reason=None), body
warm.Worker.ask = leaking
"""
NO_GATE = """
from wardround.client import egress
egress.Gate.reply = lambda self, q, reply, body=b"": egress.Released(reply.fields, reply.vector, body, reply.reason)
"""


def test_the_gate_stops_what_the_search_would_find(scene: Scene) -> None:
    """The same leak twice: with the gate nothing leaves, without it the search finds what left."""
    with agents([scene.homes["north"]], before=LEAK):
        grid = scene.stand.grid()
        assert (scene.describe(grid, "leak") or "").startswith("WR-1911")
        grid.finish(completed=True)
    assert search(scene.tap.everything, scene.canaries) == []
    with agents([scene.homes["north"]], before=LEAK + NO_GATE):
        grid = scene.stand.grid()
        scene.describe(grid, "leak-without-gate")
        grid.finish(completed=True)
    assert "utf-8" in search(scene.tap.everything, scene.canaries)
