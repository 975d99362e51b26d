"""Numbers about the coordinator in the text format of Prometheus (version 0.0.4), on loopback alone."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wardround.common.ids import SiteId, StudyRunId
    from wardround.server.runs.manager import RunManager
    from wardround.server.runs.talk import Presence
    from wardround.server.store import Store

log = logging.getLogger("wardround.metrics")

HOST: Final = "127.0.0.1"
FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
PAGE: Final = 4096
"""Bytes of a page of memory on Linux."""

Sample = tuple[dict[str, str], float]


class MetricsServer:
    """Answers ``/metrics`` and ``/health`` in a thread of its own.

    Args:
        port: On loopback; 0 for any.
        text: Gives the metrics.
        healthy: Whether all is well.

    Raises:
        WardroundError: WR-1916, the port is taken.
    """

    def __init__(self, port: int, text: Callable[[], str], healthy: Callable[[], bool]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(HTTPStatus.OK, text(), FORMAT)
                elif self.path == "/health":
                    well = healthy()
                    words = "serving\n" if well else "not serving\n"
                    self._answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, words, "text/plain")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "/metrics or /health\n", "text/plain")

            def _answer(self, status: HTTPStatus, words: str, kind: str) -> None:
                content = words.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """A look at metrics is no event."""

        try:
            self._server = ThreadingHTTPServer((HOST, port), Handler)
        except OSError:
            fix = "Choose another one with --metrics-port; 0 takes any that is free."
            raise WardroundError("WR-1916", f"Port {port} of this machine is taken.", fix=fix) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def render(store: Store, manager: RunManager, *, superlink: bool, started_at: float, watching: int) -> str:
    """The metrics of a coordinator.

    Args:
        store: Its database.
        manager: Its runs.
        superlink: Whether the SuperLink runs.
        started_at: When the coordinator began, seconds since 1970.
        watching: Agents that listen now.
    """
    presence, runs = manager.presence(), store.runs()
    states = Counter[str](found.state for found in presence.values())
    counters = manager.counters
    families: list[tuple[str, str, str, Iterable[Sample]]] = [
        ("start_time_seconds", "gauge", "When the coordinator began.", [({}, started_at)]),
        ("superlink_up", "gauge", "Whether the SuperLink runs.", [({}, float(superlink))]),
        ("sites", "gauge", "Members by presence.", _each("presence", states, ("heard", "expected", "silent"))),
        ("site_heard", "gauge", "Whether a member is heard.", _heard(presence)),
        ("agents_listening", "gauge", "Agents with an open stream.", [({}, watching)]),
        ("runs", "gauge", "Runs by state.", _each("state", Counter[str](row.state for row in runs))),
        ("run_committed_rounds", "gauge", "Rounds committed.", [({"run": row.id}, row.committed) for row in runs]),
        (
            "run_round_seconds",
            "gauge",
            "Wall-clock time of the newest round.",
            [({"run": run}, seconds) for run, seconds in counters.seconds.items()],
        ),
        ("rounds_total", "counter", "Rounds committed since the start.", [({}, counters.rounds)]),
        ("left_out_total", "counter", "Times that a site was left out of a round.", [({}, counters.left_out)]),
        ("run_restarts_total", "counter", "Processes of runs begun again.", [({}, counters.restarts)]),
        ("memory_bytes", "gauge", "Resident memory of a process.", _memory(manager.processes)),
    ]
    return "".join(line for family in families for line in _family(*family))


def _family(name: str, kind: str, words: str, samples: Iterable[Sample]) -> list[str]:
    full = f"wardround_coordinator_{name}"
    lines = [f"# HELP {full} {words}\n", f"# TYPE {full} {kind}\n"]
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{full}{{{told}}} {value:.17g}\n" if told else f"{full} {value:.17g}\n")
    return lines


def _each(label: str, counts: Mapping[str, int], always: Iterable[str] = ()) -> list[Sample]:
    names = dict.fromkeys([*always, *counts])
    return [({label: name}, counts.get(name, 0)) for name in names]


def _heard(presence: Mapping[SiteId, Presence]) -> list[Sample]:
    return [({"site": site}, float(found.state == "heard")) for site, found in presence.items()]


def _memory(processes: Mapping[StudyRunId, int]) -> list[Sample]:
    found: list[Sample] = [({"process": "coordinator"}, resident("self"))]
    return found + [({"process": f"run {run}"}, resident(str(pid))) for run, pid in processes.items()]


def resident(process: str) -> float:
    """Resident memory of a process, bytes; 0 where it has ended."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:  # noqa: PTH123 - no path of ours
            return float(int(file.read().split()[1]) * PAGE)
    except OSError:
        return 0.0


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
