"""Fixtures that every test may use, and the rule that no test is skipped unnoticed."""

from __future__ import annotations

import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import wardround.server  # noqa: F401  # before anything imports gRPC, as in the programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile("wardround", deadline=None)  # shared machines stall; no test is about time
settings.load_profile("wardround")

NO_DATA = "WARDROUND_DATA is not set"
NO_GPU = "no GPU on this machine"
NO_CHROMIUM = "chromium is not installed"
NO_PDFTOTEXT = "pdftotext is not installed"
NO_POSTGRESQL = "PostgreSQL is not installed"
NO_SYSTEMD = "systemd-analyze is not installed"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images that ``WARDROUND_DATA`` names."""
    folder = os.environ.get("WARDROUND_DATA")
    if not folder:
        pytest.skip(NO_DATA)
    assert Path(folder).is_dir(), f"WARDROUND_DATA names no folder: {folder}"
    return Path(folder)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A browser that prints HTML to PDF without a screen."""
    return _program(("chromium", "chromium-browser", "google-chrome"), NO_CHROMIUM)


@pytest.fixture(scope="session")
def pdftotext() -> Path:
    """The program that reads the text of a PDF."""
    return _program(("pdftotext",), NO_PDFTOTEXT)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A PostgreSQL server for this run of the tests; each call makes an empty database and gives its URL."""
    from fakes.postgresql import folder_of_programs, server

    programs = folder_of_programs()
    if programs is None:
        pytest.skip(NO_POSTGRESQL)
    with server(programs) as new_database:
        yield new_database


def _program(names: Iterable[str], reason: str) -> Path:
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is none."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if not needy:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needy:
            item.add_marker(pytest.mark.skip(reason=NO_GPU))


def _allowed() -> list[tuple[str, str]]:
    lines = (ROOT / "tests" / "allowed_skips.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" | ", maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return [(pattern.strip(), reason.strip()) for pattern, reason in pairs]


def _is_listed(report: pytest.TestReport | pytest.CollectReport, reason: str) -> bool:
    if os.environ.get("CI") == "true" and "gpu" not in getattr(report, "keywords", {}):
        return False
    return any(fnmatchcase(report.nodeid, pattern) and reason == allowed for pattern, allowed in _allowed())


class SkipRule:
    """Fails a session in which a test was skipped that ``allowed_skips.txt`` does not list.

    With ``CI=true`` only tests marked ``gpu`` may be skipped at all.
    """

    def __init__(self) -> None:
        self.unlisted: list[str] = []

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.outcome != "skipped" or hasattr(report, "wasxfail"):
            return
        longrepr = report.longrepr
        reason = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")
        if not _is_listed(report, reason):
            self.unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look_at(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unlisted:
            terminalreporter.section("skipped without being allowed (tests/allowed_skips.txt)", red=True)
            for line in self.unlisted:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Watch the skips, in the process that reports."""
    config.pluginmanager.register(SkipRule(), "skip-rule")
