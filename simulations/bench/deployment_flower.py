"""Flower's side of ``bench deployment``: a stock SuperLink, stock SuperNodes, and an app whose clients do not train.

The public entry points alone, with their defaults: ``flower-superlink``, ``flower-supernode`` and ``flwr run``. Beside
the defaults: no TLS and no node authentication (``--insecure``, which spares Flower what ours pays for), and no
installation of packages at the start of an app.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from shutil import copytree, ignore_patterns
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from wardround.simulations.bench.machine import pin
from wardround.simulations.deployed.processes import Processes, free_port
from wardround.simulations.deployed.usage import family, resident_mb, watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.simulations.deployed.processes import Process

APP: Final = Path(__file__).with_name("flower_app")
START_SECONDS: Final = 120.0
ROUND_SECONDS: Final = 60.0
"""Longest that the start, and a round, may take."""

SETTLE_SECONDS: Final = 3.0
"""Between the end of the rounds and the look at idle processes."""

BUNDLE: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "bench"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "bench"

[tool.flwr.app.components]
serverapp = "flower_app.server:app"
clientapp = "flower_app.client:app"

[tool.flwr.app.config]
asked = ""
"""

CONNECTION: Final = """\
[superlink]
default = "bench"

[superlink.bench]
address = "{address}"
insecure = true
"""


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Start everything, run the rounds, and look at the idle nodes afterwards.

    Args:
        settings: ``sites``, ``rounds``, ``shapes`` of the model's arrays, ``cores`` to run on, ``idle_seconds`` to
            watch for.

    Returns:
        ``start_seconds`` from process start until the end of the first round; ``round_seconds`` of each round;
        ``idle_cpu`` (percent of a core) and ``idle_rss_mb`` of a node with the processes below it, means over the
        nodes; ``server_peak_mb`` of the SuperLink.

    Raises:
        WardroundError: WR-1523, a process failed, or it took too long.
    """
    pin(settings["cores"])
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as name, Processes(Path(name) / "log") as processes:
        folder, begin = Path(name), time.time()
        server, nodes = _start(processes, folder, settings["sites"])
        marks = _run(processes, folder, settings)
        time.sleep(SETTLE_SECONDS)
        idle = watch([family(node.pid) for node in nodes], settings["idle_seconds"])
        peak = resident_mb(server.pid, "VmHWM")
    return {
        "start_seconds": marks[1] - begin,
        "round_seconds": [after - before for before, after in pairwise(marks)],
        "idle_cpu": mean(use.cpu_percent for use in idle),
        "idle_rss_mb": mean(use.resident_mb for use in idle),
        "server_peak_mb": peak,
    }


def _start(processes: Processes, folder: Path, sites: int) -> tuple[Process, list[Process]]:
    """SuperLink and SuperNodes; the nodes are started as soon as the SuperLink answers."""
    port = free_port()
    environment = {**os.environ, "FLWR_HOME": str(folder / "flower"), "NO_PROXY": "127.0.0.1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    _write_connection(folder, port)
    here = ("--host", "127.0.0.1", "--port", str(port))
    server = processes.start(
        "superlink",
        (_program("flower-superlink"), "--insecure", *here, "--disable-runtime-dependency-installation"),
        environment,
    )
    processes.wait_until(lambda: _answers(port), "Flower's SuperLink", START_SECONDS)
    node = (_program("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}", "--port")
    return server, [
        processes.start(f"supernode{place}", (*node, str(free_port())), environment) for place in range(sites)
    ]


def _run(processes: Processes, folder: Path, settings: Mapping[str, Any]) -> list[float]:
    """Hand the app to the SuperLink; times before the first round and after each."""
    app, asked, out = folder / "app", folder / "asked.json", folder / "marks.json"
    copytree(APP, app / APP.name, ignore=ignore_patterns("__pycache__"))
    (app / "pyproject.toml").write_text(BUNDLE, encoding="utf-8")
    wanted = {name: settings[name] for name in ("shapes", "rounds", "sites")}
    asked.write_text(json.dumps({**wanted, "out": str(out)}), encoding="utf-8")
    environment = {**os.environ, "FLWR_HOME": str(folder / "flower"), "NO_PROXY": "127.0.0.1"}
    run = (_program("flwr"), "run", str(app), "bench", "--run-config", f'asked="{asked}"')
    processes.run("flwr-run", run, environment, START_SECONDS)
    longest = START_SECONDS + ROUND_SECONDS * settings["rounds"]
    processes.wait_until(lambda: True if out.exists() else None, "Flower's rounds", longest)
    marks: list[float] = json.loads(out.read_text(encoding="utf-8"))
    return marks


def _write_connection(folder: Path, port: int) -> None:
    (folder / "flower").mkdir()
    written = CONNECTION.format(address=f"127.0.0.1:{port}")
    (folder / "flower" / "config.toml").write_text(written, encoding="utf-8")


def _program(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).with_name(name))


def _answers(port: int) -> bool | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return True if connection.getresponse().status == http.client.OK else None
    except OSError:
        return None
    finally:
        connection.close()
