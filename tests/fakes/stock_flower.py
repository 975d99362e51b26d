"""Flower as it is installed: its SuperLink, a SuperNode, and a bundle whose code leaves a mark where it runs."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.cli.build import build_fab_from_files
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from wardround.server.flower import Bundle
from wardround.simulations.deployed.processes import Processes, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 120.0

PROJECT = b"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "wardround"
version = "1"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "wardround"

[tool.flwr.app.components]
serverapp = "other_code.server:app"
clientapp = "other_code.client:app"

[tool.flwr.app.config]
"""

SERVER = b"""\
import time
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.1)
    list(grid.send_and_receive([Message(RecordDict(), dst_node_id=nodes[0], message_type="query.describe")]))
"""

CLIENT = """\
from pathlib import Path
from flwr.app import Message
from flwr.clientapp import ClientApp

Path({mark!r}).touch()
app = ClientApp()

@app.query("describe")
def describe(message, context):
    return Message(message.content, reply_to=message)
"""


def marking_bundle(mark: Path) -> Bundle:
    """A bundle with code of its own: where its client is loaded, the file ``mark`` appears."""
    files = {
        "pyproject.toml": PROJECT,
        "other_code/__init__.py": b"",
        "other_code/server.py": SERVER,
        "other_code/client.py": CLIENT.format(mark=str(mark)).encode(),
    }
    content, _ = build_fab_from_files(files)
    return Bundle(content, hashlib.sha256(content).hexdigest())


@contextmanager
def stock_flower(folder: Path) -> Iterator[tuple[Processes, str]]:
    """A SuperLink and a SuperNode by their public entry points and with their defaults; the SuperLink's address."""
    programs = Path(sys.executable).parent
    environment = dict(os.environ) | {
        "FLWR_HOME": str(folder / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "NO_PROXY": "127.0.0.1",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    port = free_port()
    here = ("--host", "127.0.0.1", "--port", str(port), "--disable-runtime-dependency-installation")
    with Processes(folder / "log") as processes:
        processes.start("superlink", (str(programs / "flower-superlink"), "--insecure", *here), environment)
        processes.wait_until(lambda: _answers(port), "Flower's SuperLink", SECONDS)
        to = ("--superlink", f"127.0.0.1:{port}", "--port", str(free_port()))
        processes.start("supernode", (str(programs / "flower-supernode"), "--insecure", *to), environment)
        yield processes, f"127.0.0.1:{port}"


def start_run(address: str, of: Bundle) -> None:
    """Hand a bundle to a stock SuperLink, as ``flwr run`` does with the one that it has built."""
    version = RuntimeVersionHttpInterceptor(component_name="wardround")
    control = ControlHttpClient.from_server_address(address, True, None, interceptors=[version])
    control.StartRun(StartRunRequest(fab=Fab(hash_str=of.sha256, content=of.content)))


def _answers(port: int) -> bool | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return True if connection.getresponse().status == http.client.OK else None
    except OSError:
        return None
    finally:
        connection.close()
