"""What people are told about an attempt that failed: who was missing, how many were needed, in their words."""

from __future__ import annotations

import pytest

from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.secagg.context import RoundContext, SessionContext
from wardround.common.secagg.explain import explain
from wardround.common.secagg.messages import AttemptEnded, Stage
from wardround.common.secagg.parameters import Strength

COHORT = tuple(map(SiteId, ("charite", "lund", "oslo", "utrecht", "wien")))
SESSION = SessionContext(
    "c", "sha256:r", StudyId("sha256:s"), StudyRunId("run"), bytes(32), 1, COHORT, 1, Strength.ACTIVE, 4
)
ROUND = RoundContext(bytes(32), 12, 2, bytes(32), bytes(32), bytes(32), 16, 1)


def words(stage: Stage, *present: int) -> str:
    return explain(SESSION, ROUND, AttemptEnded(ROUND.digest, stage, 4, present))


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        (Stage.UPLOAD, "uploaded"),
        (Stage.CONFIRM, "confirmed the survivor set"),
        (Stage.OPEN, "sent their shares"),
    ],
)
def test_who_was_missing_and_how_many_were_needed(stage: Stage, done: str) -> None:
    told = words(stage, 0, 2, 4)
    assert told.startswith(f"Round 12, attempt 2: 3 of 5 sites {done}, at least 4 are needed; missing: lund, utrecht.")


def test_nobody_and_everybody() -> None:
    assert "0 of 5 sites" in words(Stage.UPLOAD)
    assert "missing: charite, lund, oslo, utrecht, wien." in words(Stage.UPLOAD)
    assert "missing: none." in words(Stage.UPLOAD, 0, 1, 2, 3, 4)
