"""The agent as a real process at a real gateway: what it survives, what it refuses, and that it says so."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fakes.agents import Agents, agents, change_settings, decide, hospitals, join_all, until
from fakes.federated import federated
from fakes.injected_randomness import injected_worker
from fakes.scenarios import chest_scenario
from fakes.serving import processes
from fakes.stock_flower import marking_bundle, start_run, stock_flower
from flwr.app import RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.runtime_pb2 import PushAppMessagesRequest
from typer.testing import CliRunner

from wardround.client.agent.renewal import is_due, own_certificate
from wardround.client.agent.warm import WORKER
from wardround.client.egress import read_egress
from wardround.client.hospital import Hospital
from wardround.client.membership import site_credentials, store_certificate
from wardround.common.crypto import certificates
from wardround.common.rounds.work import own_total, samples_in
from wardround.common.wire.messages import Describe, Train
from wardround.common.wire.noisy import Prepare, TrainNoisy
from wardround.common.wire.records import pack, pack_vector
from wardround.server.flower import Bundle, RuntimeGrid
from wardround.server.gateway import Gateway
from wardround.server.store import CertificateRow
from wardround.server.superlink import SuperLink
from wardround.simulations.cli import app as command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.federated import Federated
    from flwr.app import Message

    from wardround.client.home import Home
    from wardround.common.study import Study
    from wardround.common.vector import Layout
    from wardround.common.wire.base import WireMessage

DAY = 86_400
LONG = 2_000
"""Images of a round that lasts long enough for an agent to be ended in it."""


@dataclass
class Scene:
    stand: Federated
    home: Home
    study: Study
    noisy: Study

    @property
    def node(self) -> int:
        return self.stand.gateway.nodes()[self.home.site]

    def train(self, run: str) -> Train:
        """Round 1, with the work of the study."""
        fields = {"study": self.study.id, "run": run, "seed": 0}
        images = Hospital(self.home, {}).describe(Describe(**fields)).samples
        rounds = self.study.training.rounds
        samples = samples_in(own_total(self.study, images), rounds, 1)
        return Train(**fields, layout=self.layout.hash, round=1, rounds=rounds, start=0, samples=samples)

    @cached_property
    def layout(self) -> Layout:
        return Hospital(self.home, {}).model(self.study).layout

    def send(self, grid: RuntimeGrid, kind: str, question: WireMessage, *, model: bool = False) -> list[str]:
        vector = pack_vector(np.zeros(self.layout.size, dtype=np.float32)) if model else None
        return list(grid.push_messages([grid.create_message(pack(question, vector), kind, self.node, "1")]))

    def ask(self, grid: RuntimeGrid, kind: str, question: WireMessage, *, model: bool = False) -> Message:
        return reply_to(grid, self.send(grid, kind, question, model=model))

    def describe(self, grid: RuntimeGrid) -> Message:
        return self.ask(grid, "query.describe", Describe(study=self.study.id, run="run", seed=0))


def reply_to(grid: RuntimeGrid, sent: list[str], seconds: float = 120.0) -> Message:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for reply in grid.pull_messages(sent):
            return reply
    raise AssertionError("no answer came")


def doctor(home: Home, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    found = CliRunner().invoke(command_line, ["hospital", "doctor", "--home", str(home.path), "--json", *more])
    return found.exit_code, {check["check"]: check for check in json.loads(found.stdout)["checks"]}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("agent")
    scenario = chest_scenario(training={"epochs": 550})  # a round is long enough to be ended in it
    noisy = chest_scenario(
        name="noisy",
        training={"optimizer": "sgd", "momentum": 0.0, "augmentation": []},
        selection={"rule": "last"},
        aggregation={"mode": "open", "weights": "equal"},
        privacy={"trust": "local", "epsilon": 8.0, "patients": 20, "rate": 0.5},
    )
    home = hospitals(folder, scenario)["north"]
    home.approve(noisy.study)
    with federated(folder) as stand:
        join_all(stand, {"north": home})
        decide(stand, [home], scenario.study, noisy.study)
        yield Scene(stand, home, scenario.study, noisy.study)
        stand.gateway.stop()  # a test may have put others in the place of the first ones
        stand.superlink.stop()


def test_an_agent_killed_while_it_trains_is_given_the_message_again(scene: Scene) -> None:
    with agents([scene.home]) as running:
        grid = scene.stand.grid()
        question = scene.train("killed")
        assert question.samples >= LONG
        sent = scene.send(grid, "train", question, model=True)
        until(scene.home, lambda status: (status.state, status.what, status.run) == ("working", "train", "killed"))
        running.processes["north"].kill()
        running.processes["north"].wait()
        assert doctor(scene.home, "--offline")[1]["agent"]["code"] == "WR-1901"
        running.start(scene.home)
        reply = reply_to(grid, sent)
        assert reply.content["message"]["samples"] == question.samples
        grid.finish(completed=True)


def test_an_agent_that_is_told_to_stop_answers_nothing_it_has_not_done(scene: Scene) -> None:
    before = len(read_egress(scene.home.path))
    with agents([scene.home]) as running:
        grid = scene.stand.grid()
        question = scene.train("stopped")
        assert question.samples >= LONG
        sent = scene.send(grid, "train", question, model=True)
        until(scene.home, lambda status: (status.state, status.run) == ("working", "stopped"))
        running.processes["north"].terminate()
        assert running.processes["north"].wait(60) == 0
        assert until(scene.home, lambda status: status.state == "stopped").code is None
        until_reported(scene, ("refusing", "WR-1939"))
        assert {line.refused for line in read_egress(scene.home.path)[before:]} == {None}
        running.start(scene.home)
        assert reply_to(grid, sent).content["message"]["samples"] == question.samples
        grid.finish(completed=True)


def test_a_bundle_with_other_code_is_refused_and_not_run(scene: Scene, tmp_path: Path) -> None:
    """Flower's own SuperNode runs the same bundle (the positive control)."""
    mark = tmp_path / "mark"
    other = marking_bundle(mark)
    with agents([scene.home]):
        grid = started_with(scene.stand, other)
        assert scene.describe(grid).error.reason.startswith("WR-1912")
        grid.finish(completed=True)
        grid = scene.stand.grid()
        assert scene.describe(grid).content["message"]["site"] == "north"
        grid.finish(completed=True)
    assert not mark.exists()
    with stock_flower(tmp_path) as (processes, address):
        start_run(address, other)
        processes.wait_until(lambda: mark.exists() or None, "Flower's client", 120.0)


def test_a_malformed_message_is_answered_once_and_the_agent_goes_on(scene: Scene) -> None:
    with agents([scene.home]) as running:
        grid = scene.stand.grid()
        reply = reply_to(grid, send_damaged(grid, scene))
        assert reply.error.reason.startswith("WR-1301")
        assert scene.describe(grid).content["message"]["site"] == "north"  # the control: the next one is as ever
        assert until(scene.home, lambda status: status.state == "idle").process == running.processes["north"].pid
        grid.finish(completed=True)
    refused = [line.refused for line in read_egress(scene.home.path) if line.kind == "query.describe"]
    assert refused[-2:] == ["WR-1301", None]


def send_damaged(grid: RuntimeGrid, scene: Scene) -> list[str]:
    """A message whose envelope is whole and whose content is no message."""
    content = b"Message  4\0\xff\xfe\xfd\xfc"
    name = hashlib.sha256(content).hexdigest()
    message = grid.create_message(RecordDict(), "query.describe", scene.node, "1")
    message.metadata.__dict__["_message_id"] = name
    request = PushAppMessagesRequest(
        messages_list=[message_to_proto(message)], message_object_trees=[ObjectTree(object_id=name)]
    )
    answer = grid._client.PushMessages(request)
    grid._push(name, content, answer.session_id)
    grid._asked[name], grid._sizes[name] = message.metadata, 0
    grid._pushed([scene.node])
    return [name]


def started_with(stand: Federated, chosen: Bundle) -> RuntimeGrid:
    stand.superlink.start_run(chosen)
    task = stand.superlink.acquire()
    assert task is not None
    grid = RuntimeGrid(stand.superlink.address, stand.superlink.root, task[1], stand.gateway.wake, 1.0)
    grid.begin()
    stand.replies.grid = grid
    return grid


def test_a_second_agent_of_the_same_hospital_does_not_start(scene: Scene) -> None:
    with agents([scene.home]):
        program = "from wardround.simulations.cli import main; main()"
        command = [sys.executable, "-c", program, "hospital", "serve", "--home", str(scene.home.path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (second.returncode, "WR-1916" in second.stderr) == (1, True)
        code, found = doctor(scene.home)
        assert found["agent"]["passed"]
        assert found["coordinator"]["passed"]
        assert code == (0 if all(check["passed"] for check in found.values()) else 1)


def test_people_start_the_production_worker_and_no_other(scene: Scene) -> None:
    """The command line has no way to name another; a test's program has (the positive control)."""
    with agents([scene.home]) as running:
        assert worker_command(running.processes["north"].pid)[:-3] == list(WORKER)
    with agents([scene.home], worker=injected_worker(1)) as running:
        assert worker_command(running.processes["north"].pid)[:-3] == list(injected_worker(1))


def worker_command(agent: int) -> list[str]:
    """The command line of the process that an agent has started."""
    (worker,) = [pid for pid, parent, _ in processes() if parent == agent]
    return Path(f"/proc/{worker}/cmdline").read_text().split("\0")[:-1]


def test_a_certificate_is_renewed_before_it_ends_and_nothing_is_restarted(scene: Scene) -> None:
    consortium, home = scene.stand.consortium, scene.home
    key, _, authority = site_credentials(home.path)
    now = int(time.time())
    request = certificates.read_request(certificates.make_request(load_pem_private_key(key, password=None)))
    authority_key = consortium._authority_key
    old = certificates.issue_site(
        consortium.certificate_authority,
        authority_key,
        request,
        consortium.name,
        home.site,
        at=now - 80 * DAY,
        until=now + 10 * DAY,
    )
    pin, pem = certificates.pin_of(old), certificates.pem(old)
    row = CertificateRow(certificates.certificate_hash(old), home.site, pin, pem, None, now - 80 * DAY, now + 10 * DAY)
    consortium.store.add_certificate(row)
    store_certificate(home.path, key, pem, authority.decode())
    assert is_due(own_certificate(home), now)
    with agents([home]) as running:
        found = until(home, lambda status: status.until is not None and status.until > now + 30 * DAY)
        assert found.process == running.processes["north"].pid
        assert not is_due(own_certificate(home), now)
        until(home, lambda status: status.state == "idle")
        grid = scene.stand.grid()
        assert scene.describe(grid).content["message"]["site"] == "north"
        grid.finish(completed=True)


def test_a_gpu_that_is_gone_is_said_aloud_and_nothing_is_computed_instead(scene: Scene) -> None:
    change_settings(scene.home, 'device = "cpu"', 'device = "cuda:99"')
    running = Agents([scene.home])
    try:
        running.start(scene.home)
        until(scene.home, lambda status: (status.state, status.code) == ("refusing", "WR-1918"))
        grid = scene.stand.grid()
        assert scene.describe(grid).error.reason.startswith("WR-1918")
        until_reported(scene, ("refusing", "WR-1918"))
        code, found = doctor(scene.home)
        assert (code, found["agent"]["code"], found["processor"]["code"]) == (1, "WR-1918", "WR-1918")
        change_settings(scene.home, 'device = "cuda:99"', 'device = "cpu"')
        assert scene.describe(grid).content["message"]["site"] == "north"
        until_reported(scene, ("idle", None))
        grid.finish(completed=True)
    finally:
        running.stop()


def until_reported(scene: Scene, expected: tuple[str, str | None]) -> None:
    """What the coordinator was told."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        row = scene.stand.consortium.store.site(scene.home.site)
        if row is not None and row.report is not None and (row.report.state, row.report.reason) == expected:
            return
        time.sleep(0.1)
    raise AssertionError(f"the coordinator was not told {expected}")


def test_the_ledger_has_a_witness_and_one_that_was_put_back_spends_nothing(scene: Scene) -> None:
    home = scene.home
    policy = home.path / "policy.toml"
    before = policy.read_text()
    policy.write_text(before.replace("require_witness = false", "require_witness = true"))
    assert home.policy.require_witness
    home.ledger.set_limit(100.0, 1e-5, admin="A. Tester", reason="test", now=datetime.now(UTC))
    study = {"study": scene.noisy.id, "run": "witnessed", "seed": 0}
    with agents([home]):
        grid = scene.stand.grid()
        assert not scene.ask(grid, "query.prepare", Prepare(**study)).has_error()
        early = {path: path.read_bytes() for path in home.path.glob("ledger*")}
        for number in (1, 2):
            question = TrainNoisy(**study, layout=scene.layout.hash, round=number)
            assert not scene.ask(grid, "train.noisy", question, model=True).has_error()
        kept = scene.stand.consortium.store.head(home.site)
        assert kept is not None
        assert kept.head.sequence == home.ledger.check().sequence
        grid.finish(completed=True)
    for path in home.path.glob("ledger*"):
        path.unlink()
    for path, content in early.items():  # the whole of it, as a snapshot of the machine would
        path.write_bytes(content)
    with agents([home]):
        grid = scene.stand.grid()
        question = TrainNoisy(**study, layout=scene.layout.hash, round=3)
        assert scene.ask(grid, "train.noisy", question, model=True).error.reason.startswith("WR-1812")
        grid.finish(completed=True)
    for path in home.path.glob("ledger*"):
        path.unlink()
    policy.write_text(before)


def test_a_coordinator_that_was_away_is_found_again(scene: Scene) -> None:
    stand = scene.stand
    with agents([scene.home]) as running:
        port = stand.gateway.port
        stand.gateway.stop()
        found = until(scene.home, lambda status: status.state == "connecting")
        assert found.code == "WR-1901"
        stand.superlink.stop()
        stand.superlink = SuperLink(stand.folder / "coordinator")
        stand.superlink.start()
        stand.gateway = Gateway(stand.consortium, stand.superlink, stand.replies, listen=f"127.0.0.1:{port}")
        stand.gateway.start()
        again = until(scene.home, lambda status: status.state == "idle")
        assert again.process == running.processes["north"].pid
        grid = stand.grid()
        assert scene.describe(grid).content["message"]["site"] == "north"
        grid.finish(completed=True)


def test_outside_of_the_policys_hours_messages_wait(scene: Scene) -> None:
    path = scene.home.path / "policy.toml"
    before = path.read_text()
    now = datetime.now().astimezone()
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    with agents([scene.home], before="from wardround.client.agent import session; session._LOOK = 1.0"):
        path.write_text(before.replace("hours = []", f'hours = ["{hours}"]'))
        assert scene.home.policy.hours == (hours,)
        until(scene.home, lambda status: (status.state, status.code) == ("refusing", "WR-1712"))
        grid = scene.stand.grid()
        sent = scene.send(grid, "query.describe", Describe(study=scene.study.id, run="night", seed=0))
        until_reported(scene, ("refusing", "WR-1712"))
        assert list(grid.pull_messages(sent)) == []
        path.write_text(before)
        assert reply_to(grid, sent).content["message"]["site"] == "north"
        grid.finish(completed=True)


def test_a_revoked_hospital_is_never_shown_as_well(scene: Scene) -> None:
    with agents([scene.home]) as running:
        scene.stand.consortium.revoke(scene.home.site, "test", now=int(time.time()))
        found = until(scene.home, lambda status: status.state == "refused")
        assert found.code == "WR-1905"
        code, checks = doctor(scene.home)
        assert (code, checks["agent"]["code"], checks["coordinator"]["code"]) == (1, "WR-1905", "WR-1905")
        assert running.processes["north"].poll() is None  # it goes on trying, and says so
        log = (scene.home.path / "agent.log").read_text()
        assert "ERROR WR-1905" in log
        join_all(scene.stand, {"north": scene.home})  # with a new code; nothing is restarted
        until(scene.home, lambda status: status.state == "idle")
