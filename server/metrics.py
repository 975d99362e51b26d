"""Numbers about the coordinator for Prometheus, on loopback alone."""

from __future__ import annotations

import os
import threading
from collections import Counter
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client.core import Metric

    from wardround.common.ids import SiteId, StudyRunId
    from wardround.server.runs.manager import RunManager
    from wardround.server.runs.talk import Presence
    from wardround.server.store import Store

HOST: Final = "127.0.0.1"
PREFIX: Final = "wardround_coordinator_"


class MetricsServer:
    """Answers ``/metrics`` and ``/health`` in threads of its own.

    Args:
        port: On loopback; 0 for any.
        collector: Gives the metrics, anew each time.
        healthy: Whether all is well.

    Raises:
        WardroundError: WR-1916, the port is taken.
    """

    def __init__(self, port: int, collector: Collector, healthy: Callable[[], bool]) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        metrics = make_wsgi_app(registry)

        def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                found: Iterable[bytes] = metrics(environ, start)
                return found
            if path != "/health":
                return _plain(start, HTTPStatus.NOT_FOUND, "/metrics or /health\n")
            if healthy():
                return _plain(start, HTTPStatus.OK, "serving\n")
            return _plain(start, HTTPStatus.SERVICE_UNAVAILABLE, "not serving\n")

        try:
            self._server = make_server(HOST, port, answer, _ThreadingServer, _QuietHandler)
        except OSError:
            fix = "Choose another one with --metrics-port; 0 takes any that is free."
            raise WardroundError("WR-1916", f"Port {port} of this machine is taken.", fix=fix) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port."""
        return self._server.server_port

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A look at metrics is no event."""


def _plain(start: StartResponse, status: HTTPStatus, words: str) -> list[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
    return [words.encode()]


class CoordinatorMetrics(Collector):
    """The metrics of a coordinator.

    Args:
        store: Its database.
        manager: Its runs.
        superlink: Whether the SuperLink runs.
        watching: How many agents listen now.
        started_at: When the coordinator began, seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        manager: RunManager,
        *,
        superlink: Callable[[], bool],
        watching: Callable[[], int],
        started_at: float,
    ) -> None:
        self._store, self._manager = store, manager
        self._superlink, self._watching = superlink, watching
        self._started_at = started_at

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not looked up before the coordinator runs."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        presence, runs = self._manager.presence(), self._store.runs()
        states = Counter[str](found.state for found in presence.values())
        counters = self._manager.counters
        yield _gauge("start_time_seconds", "When the coordinator began.", self._started_at)
        yield _gauge("superlink_up", "Whether the SuperLink runs.", self._superlink())
        sites = {"heard": 0, "expected": 0, "silent": 0} | states
        yield _gauges("sites", "Members by presence.", "presence", sites)
        yield _gauges("site_heard", "Whether a member is heard.", "site", _heard(presence))
        yield _gauge("agents_listening", "Agents with an open stream.", self._watching())
        yield _gauges("runs", "Runs by state.", "state", Counter[str](row.state for row in runs))
        yield _gauges("run_committed_rounds", "Rounds committed.", "run", {row.id: row.committed for row in runs})
        yield _gauges("run_round_seconds", "Wall-clock time of the newest round.", "run", counters.seconds)
        yield _counter("rounds", "Rounds committed since the start.", counters.rounds)
        yield _counter("left_out", "Times that a site was left out of a round.", counters.left_out)
        yield _counter("run_restarts", "Processes of runs begun again.", counters.restarts)
        yield _gauges("memory_bytes", "Resident memory of a process.", "process", _memory(self._manager.processes))


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, words, value=value)


def _gauges(name: str, words: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, words, labels=[label])
    for what, value in values.items():
        family.add_metric([str(what)], value)
    return family


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, words, value=value)


def _heard(presence: Mapping[SiteId, Presence]) -> dict[str, float]:
    return {site: found.state == "heard" for site, found in presence.items()}


def _memory(processes: Mapping[StudyRunId, int]) -> dict[str, float]:
    return {"coordinator": resident("self")} | {f"run {run}": resident(str(pid)) for run, pid in processes.items()}


def resident(process: str) -> float:
    """Resident memory of a process, bytes; 0 where it has ended."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:  # noqa: PTH123 - no path of ours
            return float(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        return 0.0
