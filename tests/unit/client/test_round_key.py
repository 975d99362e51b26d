"""A round's randomness is drawn once: again for the same question, never for another one that was paid for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wardround.client.home import create_home
from wardround.client.round_key import FILE, RoundKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.wire.base import RunContext

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home

RUN = StudyRunId("run")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path, SiteId("north"), [], device="cpu", threads=1)


def key(home: Home, number: int = 1, value: float = 0.0, seed: int = 0) -> RoundKey:
    question = RunContext(study=StudyId("sha256:" + 64 * "0"), run=RUN, seed=seed)
    return RoundKey(home, question, number, np.full(3, value, dtype=np.float32))


def drawn(found: RoundKey, paid: int = 0) -> bytes:
    return found.source(os.urandom, (paid, 0))[0](32)


def test_the_same_question_has_the_same_randomness_until_its_update_is_kept(home: Home) -> None:
    first = drawn(key(home))
    assert (home.run_folder(RUN) / FILE).stat().st_mode & 0o777 == 0o600
    assert drawn(key(home), paid=1) == first
    key(home).erase()
    assert drawn(key(home), paid=1) != first


def test_how_often_it_was_paid_for_is_counted_from_its_drawing(home: Home) -> None:
    """A key that was drawn after a payment has not been paid for by it."""
    key(home).source(os.urandom, (0, 0))
    assert key(home).source(os.urandom, (1, 1))[1] == (0, 0)
    key(home).erase()
    key(home).source(os.urandom, (1, 1))
    assert key(home).source(os.urandom, (1, 1))[1] == (1, 1)


@pytest.mark.parametrize("other", [{"value": 0.5}, {"seed": 1}])
def test_two_models_never_share_a_key(other: dict[str, float], home: Home) -> None:
    first = drawn(key(home))
    assert drawn(key(home, **other)) != first, "nothing was paid for: another key"  # type: ignore[arg-type]
    with pytest.raises(WardroundError, match="WR-1301"):
        drawn(key(home), paid=1)
    assert drawn(key(home, number=2), paid=0) != first  # the positive control: the next round may begin


def test_a_damaged_key_is_not_drawn_over(home: Home) -> None:
    drawn(key(home))
    (home.run_folder(RUN) / FILE).write_text("{")
    with pytest.raises(WardroundError, match="WR-1714"):
        key(home)
