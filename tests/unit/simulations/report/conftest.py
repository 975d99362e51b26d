"""Run folders with their reports, made once; a test that writes copies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.run_folder import build_classification, build_left_out, build_segmentation

from wardround.simulations.report.write import write_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def classification_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary classification with a site without negatives and a site never trained on."""
    return _reported(build_classification(tmp_path_factory.mktemp("runs") / "classification"))


@pytest.fixture(scope="session")
def segmentation_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3D segmentation; one site has too few patients for a test."""
    return _reported(build_segmentation(tmp_path_factory.mktemp("runs") / "segmentation"))


@pytest.fixture(scope="session")
def left_out_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave-one-site-out only, one person a site."""
    return _reported(build_left_out(tmp_path_factory.mktemp("runs") / "left_out"))


def _reported(run: Path) -> Path:
    assert write_report(run) == run / "report.html"
    return run
