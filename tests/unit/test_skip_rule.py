"""A skipped test that ``allowed_skips.txt`` does not list fails the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Session = Callable[..., subprocess.CompletedProcess[str]]

LISTED = "import pytest\n\ndef test_it():\n    pytest.skip('WARDROUND_DATA is not set')\n"
UNLISTED = "import pytest\n\ndef test_it():\n    pytest.skip('because')\n"
UNLISTED_MODULE = "import pytest\n\npytest.skip('because', allow_module_level=True)\n"
GPU = "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pytest.skip('no GPU on this machine')\n"
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
PASSING = "def test_another():\n    assert True\n"


@pytest.fixture
def session(root: Path, tmp_path: Path) -> Session:
    """Runs pytest on one test module, under the rules of this project's conftest."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("conftest.py", "allowed_skips.txt"):
        shutil.copy(root / "tests" / name, tests)
    (tests / "test_passing.py").write_text(PASSING, encoding="utf-8")

    def run(module: str, *arguments: str, ci: bool = False) -> subprocess.CompletedProcess[str]:
        (tests / "test_skipping.py").write_text(module, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "markers=gpu", *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
        environment = {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **({"CI": "true"} if ci else {})}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("module", [UNLISTED, UNLISTED_MODULE], ids=["test", "module"])
def test_unlisted_skip_fails(session: Session, module: str) -> None:
    done = session(module, "-p", "xdist", "-n", "1")
    assert done.returncode == 1, done.stdout
    assert "test_skipping.py" in done.stdout
    assert "because" in done.stdout


def test_listed_skip_passes(session: Session) -> None:
    done = session(LISTED)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_ci_allows_no_skip(session: Session) -> None:
    assert session(LISTED, ci=True).returncode == 1


def test_ci_allows_a_gpu_to_be_absent(session: Session) -> None:
    done = session(GPU, ci=True)
    assert done.returncode == 0, done.stdout


def test_expected_failure_is_no_skip(session: Session) -> None:
    assert session(EXPECTED_FAILURE).returncode == 0
