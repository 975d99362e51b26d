"""The coordinator's log and its metrics: formats that machines read."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from wardround.common.errors import WardroundError
from wardround.server.logs import LOG, end_logs, write_logs
from wardround.server.metrics import MetricsServer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client.core import Metric


class Runs(Collector):
    """One metric with a label that has to be escaped."""

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("runs", "Runs by state.", labels=["state"])
        family.add_metric(['a"b\\c\nd'], 2)
        yield family


def test_a_log_line_is_one_json_object_with_its_fields(tmp_path: Path) -> None:
    terminal = io.StringIO()
    write_logs(tmp_path, terminal)
    try:
        log = logging.getLogger("wardround.test")
        log.info("round %s\nis over", 3, extra={"run": "r.1", "sites": ["north"]})
        try:
            int("broken")
        except ValueError:
            log.exception("it failed")
    finally:
        end_logs()
    path = tmp_path / "log" / LOG
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (first["message"], first["level"]) == ("round 3\nis over", "info")
    assert (first["run"], first["sites"]) == ("r.1", ["north"])
    assert "ValueError: invalid literal" in second["exception"]
    assert path.stat().st_mode & 0o077 == 0
    assert "round 3" in terminal.getvalue()
    assert logging.getLogger("wardround").handlers == []


def test_metrics_and_health_are_answered_on_loopback_alone() -> None:
    well = [True]
    server = MetricsServer(0, Runs(), lambda: well[0])
    try:
        base = f"http://127.0.0.1:{server.port}"
        answer = httpx.get(f"{base}/metrics")
        found = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert [(each.labels, each.value) for each in found["runs"].samples] == [({"state": 'a"b\\c\nd'}, 2)]
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert httpx.get(f"{base}/health").status_code == 200
        well[0] = False
        for path, status in (("/health", 503), ("/anything", 404)):
            assert httpx.get(base + path).status_code == status
        with pytest.raises(WardroundError) as taken:
            MetricsServer(server.port, Runs(), bool)
        assert taken.value.code == "WR-1916"
    finally:
        server.stop()
