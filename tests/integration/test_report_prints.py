"""The report opens in a browser without a network and prints to PDF, Chinese included."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fakes.run_folder import build_classification, classification_study

from wardround.simulations.report.write import write_report

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "三家医院的胸部影像"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run whose title is Chinese."""
    run = build_classification(tmp_path_factory.mktemp("runs") / "run", study=classification_study(title=TITLE))
    return write_report(run)


def test_report_prints_to_pdf(report: Path, chromium: Path, pdftotext: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--disable-dev-shm-usage"]
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [str(chromium), *switches, *offline, f"--print-to-pdf={pdf}", report.resolve().as_uri()]
    printed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert printed.returncode == 0, printed.stderr

    read = subprocess.run([str(pdftotext), "-layout", str(pdf), "-"], capture_output=True, text=True, check=True)
    assert TITLE in read.stdout
    assert "North" in read.stdout or "north" in read.stdout
    assert read.stdout.count("\f") >= 2, "a report has more than one page"
