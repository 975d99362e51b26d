"""What people read of a run."""

from __future__ import annotations

import pytest

from wardround.server.runs.talk import Gathering
from wardround.server.runs.words import gathering_words


@pytest.mark.parametrize(("needed", "said"), [(1, "waits until 1 site is heard"), (2, "waits until 2 sites are heard")])
def test_one_site_is_and_two_are(needed: int, said: str) -> None:
    assert gathering_words(Gathering(missing=(), needed=needed), {}) == f"{said}; missing: nobody"
