"""An approval of a study in open mode is one of as many runs as policy says, in the study's own split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wardround.client.home import create_home
from wardround.client.kept_round import KeptRound, keep_round, kept_round
from wardround.client.open_runs import AnsweredRound, AnsweredValidation, join_open_run
from wardround.client.policy import Policy
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.wire.base import RunContext
from wardround.common.wire.messages import Validated

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home


def home_of(folder: Path, policy: Policy) -> Home:
    return create_home(folder, SiteId("north"), [], device="cpu", threads=1, policy=policy)


def run(name: str, study: str = "0", folds: int = 1) -> RunContext:
    return RunContext(study=StudyId("sha256:" + 64 * study), run=StudyRunId(name), seed=0, folds=folds)


def test_runs_are_counted_by_study_and_for_good(tmp_path: Path) -> None:
    policy = Policy(runs_per_study=2, without_privacy=True)
    home = home_of(tmp_path, policy)
    for name in ("a", "a", "b", "a"):
        join_open_run(home, run(name))
    with pytest.raises(WardroundError, match="WR-1712"):
        join_open_run(home, run("c"))
    join_open_run(home, run("c", study="1"))
    with pytest.raises(WardroundError, match="WR-1712"):
        join_open_run(home_of(tmp_path, policy), run("c"))
    join_open_run(home, run("b"))


def test_folds_need_the_policys_word(tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match="WR-1712"):
        join_open_run(home_of(tmp_path / "strict", Policy()), run("a", folds=5))
    join_open_run(home_of(tmp_path / "free", Policy(cross_validation=True)), run("a", folds=5))


def test_a_damaged_list_lets_nothing_through(tmp_path: Path) -> None:
    home = home_of(tmp_path, Policy())
    join_open_run(home, run("a"))
    next((tmp_path / "open").glob("*.json")).write_text("{")
    with pytest.raises(WardroundError, match="WR-1714"):
        join_open_run(home, run("a"))


def test_a_round_of_a_study_in_another_mode_is_told(tmp_path: Path) -> None:
    home, update = home_of(tmp_path, Policy()), np.zeros(3, dtype=np.float32)
    reply = AnsweredValidation(asked="0", reply=Validated(site=SiteId("north"), loss=None, metric=None))
    keep_round(home, KeptRound(StudyRunId("a"), reply, update, {}))
    with pytest.raises(WardroundError, match=r"WR-1714.*another mode"):
        kept_round(home, StudyRunId("a"), AnsweredRound)
    assert kept_round(home, StudyRunId("a"), AnsweredValidation) is not None  # the positive control
