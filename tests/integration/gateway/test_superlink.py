"""What is relied on of Flower's SuperLink, on a real one: this fails first when a release of Flower does otherwise."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.callers import signed_headers
from flwr.app import ConfigRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.corestate.in_memory_corestate import InMemoryCoreState
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories

from wardround.client.link import public_key
from wardround.common.errors import WardroundError
from wardround.common.wire.federation import BUNDLE
from wardround.server.flower import Control, RuntimeGrid, bundle, word_of
from wardround.server.flower.__main__ import PUSH_SECONDS
from wardround.server.flower.door import HEADER
from wardround.server.superlink import SuperLink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLEET = "/flwr.proto.Fleet/"


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    started = SuperLink(tmp_path_factory.mktemp("superlink"))
    started.start()
    yield started
    started.stop()


class Node1:
    """A node without a gateway: what the SuperLink itself would take."""

    def __init__(self, superlink: SuperLink) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.id = superlink.register_node(public_key(self.key.public_key()))
        credentials = grpc.ssl_channel_credentials(superlink.root)
        options = [("grpc.enable_http_proxy", 0)]
        self.channel = grpc.secure_channel(superlink.fleet_address, credentials, options=options)
        beat = SendNodeHeartbeatRequest(node=Node(node_id=self.id), heartbeat_interval=10)
        self.call("SendNodeHeartbeat", beat.SerializeToString())

    def call(self, name: str, body: bytes) -> bytes:
        answer: bytes = self.channel.unary_unary(FLEET + name)(body, metadata=signed_headers(self.key), timeout=20)
        return answer

    def pull(self) -> PullMessagesResponse:
        request = PullMessagesRequest(node=Node(node_id=self.id))
        return PullMessagesResponse.FromString(self.call("PullMessages", request.SerializeToString()))


def test_the_bundle_is_the_one_that_agents_know() -> None:
    assert f"sha256:{bundle().sha256}" == BUNDLE
    assert bundle() == bundle()


def test_nodes_and_runs(superlink: SuperLink) -> None:
    key = public_key(ec.generate_private_key(ec.SECP384R1()).public_key())
    node = superlink.register_node(key)
    assert node > 0
    assert superlink.register_node(key) == node  # another gateway asks for it
    control = superlink._control
    assert control is not None
    with pytest.raises(Exception, match="412"):  # Flower itself takes a key once
        control.register_node(key)
    superlink.unregister_node(node)
    with pytest.raises(WardroundError, match="WR-1909"):
        superlink.register_node(key)
    with pytest.raises(Exception, match="412"):
        control.register_node(key)
    assert superlink.acquire() is None
    run = superlink.start_run(bundle())
    task = superlink.acquire()
    assert task is not None
    assert task[0] == run
    assert superlink.acquire() is None  # nobody else works on it
    grid = RuntimeGrid(superlink.address, superlink.root, task[1], lambda _: None, patience=0.1)
    grid.begin()
    assert grid.run.run_id == run
    assert f"sha256:{grid.run.fab_hash}" == BUNDLE
    grid.finish(completed=True)
    superlink.stop_run(superlink.start_run(bundle()))


def test_tasks_are_for_those_who_know_the_secret(superlink: SuperLink) -> None:
    superlink.start_run(bundle())
    with pytest.raises(Exception, match="401"):
        Control(superlink.address, superlink.root, b"x" * 32).acquire()
    assert superlink.acquire() is not None


def status(superlink: SuperLink, method: str, path: str, word: str | None = None, shown: str = "") -> int:
    """What the SuperLink's port says to an account of this machine."""
    trust = ssl.create_default_context(cadata=superlink.root.decode())
    with closing(http.client.HTTPSConnection(superlink.address, context=trust, timeout=20)) as connection:
        headers = {"content-type": "application/protobuf", "flwr-task-token": shown}
        headers |= {} if word is None else {HEADER: word}
        connection.request(method, path, b"" if method == "POST" else None, headers)
        return connection.getresponse().status


def test_control_is_for_those_who_know_the_secret(superlink: SuperLink) -> None:
    """Everybody on this machine reaches the port; what it serves is ours."""
    secret = (superlink._folder / "tasks.secret").read_bytes()
    for method, path in (
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/control/register-node"),
        ("POST", "/v1/control/list-runs"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
    ):
        assert status(superlink, method, path) == 401, path
        assert status(superlink, method, path, word_of(b"x" * 32)) == 401, path
        assert status(superlink, method, path, word_of(secret)) != 401, path  # the control
    assert status(superlink, "POST", "/v1/fleet/register-node") == 401
    assert status(superlink, "POST", "/v1/runtime/../control/list-runs") == 401
    assert status(superlink, "POST", "/v1/runtime/../control/list-runs", shown="x") == 404
    assert status(superlink, "GET", "/health") == 200
    stranger = Control(superlink.address, superlink.root, b"x" * 32)
    with pytest.raises(Exception, match="401"):
        stranger.start_run(bundle())
    with pytest.raises(Exception, match="401"):
        stranger.register_node(public_key(ec.generate_private_key(ec.SECP384R1()).public_key()))
    stranger.close()


def test_calls_of_a_run_show_its_token(superlink: SuperLink) -> None:
    """What is open without the word of the door asks for a token of its own."""
    for path in ("push-messages", "pull-messages", "push-object", "pull-object", "get-nodes", "acquire-task"):
        assert status(superlink, "POST", f"/v1/runtime/{path}") == 401, path
        assert status(superlink, "POST", f"/v1/runtime/{path}", shown="x") in {401, 403}, path


def test_how_long_a_part_of_a_reply_may_take_is_read_anew_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SuperLink's process relies on where it gives parts of replies more time than Flower does."""
    state = get_objectstore_linkstate_factories(":flwr-in-memory:", get_federation_manager())[1].state()
    assert isinstance(state, InMemoryCoreState)
    for seconds in (in_memory_corestate.OBJECT_PUSH_SESSION_TTL_SECONDS, PUSH_SECONDS):  # type: ignore[attr-defined]
        monkeypatch.setattr(in_memory_corestate, "OBJECT_PUSH_SESSION_TTL_SECONDS", seconds)
        session = state._object_push_sessions[state.start_session(1)]
        assert seconds - 60 < (session.expires_at - now()).total_seconds() <= seconds
    assert PUSH_SECONDS > 45 * 8 / 0.2  # 45 MB in one piece at 0.2 Mbit/s


def test_the_superlink_takes_what_the_gateway_refuses(superlink: SuperLink) -> None:
    """Why the tunnel looks into messages: a node may write to another one in the server's name."""
    north, south = Node1(superlink), Node1(superlink)
    superlink.start_run(bundle())
    task = superlink.acquire()
    assert task is not None
    grid = RuntimeGrid(superlink.address, superlink.root, task[1], lambda _: None, patience=0.1)
    grid.begin()
    forged = grid.create_message(RecordDict({"c": ConfigRecord({"x": 1})}), "train", south.id, "1")
    forged.metadata.__dict__["_message_id"] = forged.object_id
    request = PushMessagesRequest(
        node=Node(node_id=north.id),
        messages_list=[message_to_proto(remove_content_from_message(forged))],
        message_object_trees=[get_object_tree(forged)],
    )
    north.call("PushMessages", request.SerializeToString())
    assert [message.metadata.src_node_id for message in south.pull().messages_list] == [1]
    grid.finish(completed=True)


def test_another_start_is_another_incarnation(tmp_path: Path) -> None:
    superlink = SuperLink(tmp_path)
    key = public_key(ec.generate_private_key(ec.SECP384R1()).public_key())
    superlink.start()
    first, node = superlink.incarnation, superlink.register_node(key)
    with pytest.raises(RuntimeError):
        superlink.start()
    superlink.stop()
    superlink.stop()
    with pytest.raises(WardroundError, match="WR-1922"):
        superlink.register_node(key)
    superlink.start()
    assert superlink.incarnation not in {first, ""}
    assert superlink.register_node(key) != node
    superlink.stop()


def test_what_a_killed_superlink_is_asked_says_so(tmp_path: Path) -> None:
    superlink = SuperLink(tmp_path)
    superlink.start()
    assert superlink.acquire() is None
    os.kill(superlink.process_id, signal.SIGKILL)
    with pytest.raises(WardroundError, match="WR-1922"):
        superlink.acquire()
    assert not superlink.running
    superlink.start()
    assert superlink.acquire() is None
    superlink.stop()


def test_a_superlink_that_cannot_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    superlink = SuperLink(tmp_path)
    monkeypatch.setattr(superlink, "_command", lambda _port: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(WardroundError, match=r"WR-1922.*ended while it started"):
        superlink.start()
    monkeypatch.undo()
    superlink.start()
    assert superlink.running
    superlink.stop()


PARENT = """
import sys, time
from pathlib import Path
from wardround.server.superlink import SuperLink
superlink = SuperLink(Path(sys.argv[1]))
superlink.start()
print(superlink.process_id, flush=True)
time.sleep(600)
"""


def test_a_superlink_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    while True:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        state = _state(child)
        if state in {"Z", ""}:  # ended, and nobody has asked for its status yet
            break
        time.sleep(0.02)


def _state(process: int) -> str:
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_its_files_are_nobody_elses(tmp_path: Path) -> None:
    superlink = SuperLink(tmp_path)
    superlink.start()
    superlink.stop()
    loopback = tmp_path / "loopback"
    written = (loopback, *loopback.rglob("*"), *(tmp_path / "log").iterdir())
    assert {path.name for path in written} >= {"server.key", "tasks.secret", "superlink.log"}
    assert {path.stat().st_mode & 0o077 for path in written} == {0}
