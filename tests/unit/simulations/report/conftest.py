"""Run folders to report on, built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.run_folder import build_classification, build_left_out, build_segmentation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def classification_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary classification with a site without negatives and a site never trained on."""
    return build_classification(tmp_path_factory.mktemp("runs") / "classification")


@pytest.fixture(scope="session")
def segmentation_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3D segmentation; one site has too few patients for a test."""
    return build_segmentation(tmp_path_factory.mktemp("runs") / "segmentation")


@pytest.fixture(scope="session")
def left_out_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave-one-site-out only, one person a site."""
    return build_left_out(tmp_path_factory.mktemp("runs") / "left_out")
