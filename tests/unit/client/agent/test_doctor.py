"""What ``wardround hospital doctor`` says of a home that the system does not let it use."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wardround.client.agent.doctor import examine
from wardround.client.home import create_home
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.client.agent.doctor import Finding

NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder that another account of the machine can reach."""
    folder = Path(tempfile.mkdtemp(prefix="wardround-doctor-"))
    folder.chmod(0o755)
    path = create_home(folder / "home", SiteId("north"), (), device="cpu", threads=1).path
    if os.geteuid() == 0:
        for found in (path, *path.rglob("*")):
            os.chown(found, NOBODY, NOBODY)
    yield path
    path.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def bound_by_rights() -> Iterator[None]:
    """As an account that the rights of files bind; root is not."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def findings(home: Path) -> dict[str, Finding]:
    with bound_by_rights():
        return {found.check: found for found in examine(home, network=False)}


def test_a_home_that_cannot_be_written_is_a_finding_and_the_other_checks_go_on(home: Path) -> None:
    list(examine(home, network=False))  # what it imports is loaded by an account that may read it
    before = findings(home)
    assert before["writing"].passed
    home.chmod(0o500)
    found = findings(home)
    assert (found["writing"].code, found.keys()) == ("WR-1914", before.keys())
    assert "cannot be written" in found["writing"].words
    assert not found["agent"].passed
    home.chmod(0o700)
    assert findings(home)["writing"].passed
