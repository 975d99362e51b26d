"""The optimizer's state between private rounds: sealed, found again, and no older one than needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wardround.client.secagg.optimizer_state import keep_state, newest_state
from wardround.client.secagg.store import SiteFiles
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def files(tmp_path: Path) -> Iterator[SiteFiles]:
    path = tmp_path / "run.sqlite"
    SiteFiles.create(path, SiteId("north"), "run")
    with SiteFiles(path, SiteId("north"), "run", os.urandom) as files:
        yield files


def state(value: float) -> dict[str, NDArray[np.float32]]:
    return {
        "0000.exp_avg": np.full((3, 2), value, np.float32),
        "0000.step": np.array(value, np.float32),
        "0001.exp_avg": np.zeros((0,), np.float32),
    }


def value(files: SiteFiles, number: int) -> float | None:
    found = newest_state(files, number)
    if found is None:
        return None
    assert {name: array.shape for name, array in found.items()} == {
        name: array.shape for name, array in state(0).items()
    }
    return float(found["0000.exp_avg"][2, 1])


def test_the_newest_earlier_state_is_found(files: SiteFiles) -> None:
    assert value(files, 1) is None
    keep_state(files, 1, state(1), os.urandom)
    assert (value(files, 1), value(files, 2), value(files, 7)) == (None, 1, 1)
    keep_state(files, 4, state(4), os.urandom)
    assert (value(files, 4), value(files, 5)) == (1, 4)


def test_a_round_trained_again_replaces_its_state_and_begins_with_the_same(files: SiteFiles) -> None:
    keep_state(files, 1, state(1), os.urandom)
    keep_state(files, 2, state(2), os.urandom)
    assert value(files, 2) == 1
    keep_state(files, 2, state(3), os.urandom)
    assert (value(files, 2), value(files, 3)) == (1, 3)


def test_two_states_are_kept_at_most(files: SiteFiles, tmp_path: Path) -> None:
    for number in range(1, 6):
        keep_state(files, number, state(number), os.urandom)
        kept = sorted(path.name for path in tmp_path.glob("run.optimizer.*"))
        assert kept == [f"run.optimizer.{place}" for place in range(max(1, number - 1), number + 1)]
        assert len(files.names("optimizer/")) == len(kept)


def test_nothing_is_kept_of_an_empty_state(files: SiteFiles, tmp_path: Path) -> None:
    keep_state(files, 1, {}, os.urandom)
    assert value(files, 2) is None
    assert not list(tmp_path.glob("*optimizer*"))


def test_a_missing_or_damaged_state_is_refused(files: SiteFiles, tmp_path: Path) -> None:
    keep_state(files, 1, state(1), os.urandom)
    path = tmp_path / "run.optimizer.1"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:50] + b"\x00" + content[51:], b"", b"x" * 40):
        path.write_bytes(damaged)
        with pytest.raises(WardroundError) as refused:
            newest_state(files, 2)
        assert refused.value.code == "WR-1714"
    path.unlink()
    with pytest.raises(WardroundError) as refused:
        newest_state(files, 2)
    assert refused.value.code == "WR-1714"
    path.write_bytes(content)
    assert value(files, 2) == 1
