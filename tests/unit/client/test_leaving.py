"""Leaving a study run under a name that nothing is kept of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.client.home import create_home
from wardround.client.kept_round import FILE
from wardround.client.leaving import leave
from wardround.client.policy import Policy
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId

if TYPE_CHECKING:
    from pathlib import Path


def test_a_wrong_name_is_told_with_those_that_are_open(tmp_path: Path) -> None:
    home = create_home(tmp_path, SiteId("north"), [], device="cpu", threads=1, policy=Policy())
    with pytest.raises(WardroundError, match=r"WR-1941.*No run is open here"):
        leave(home, StudyRunId("wrong"))
    kept = home.run_folder("right") / FILE
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(WardroundError, match=r"WR-1941.*as it stands here: right\."):
        leave(home, StudyRunId("wrong"))
    assert leave(home, StudyRunId("right")).erased
