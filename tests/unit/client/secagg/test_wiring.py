"""What a refusal says when it leaves the hospital in private mode."""

from __future__ import annotations

import pytest

from wardround.client.secagg.wiring import discreet
from wardround.common.errors import REGISTRY, WardroundError


@pytest.mark.parametrize("code", sorted(REGISTRY))
def test_only_words_about_the_protocol_leave(code: str) -> None:
    said = discreet(WardroundError(code, "Of 17 patients the loss is 0.5."))
    assert said.code == code
    if code in {"WR-1301", "WR-1302", "WR-1304"} or code.startswith("WR-17"):
        assert "17 patients" in said.what
    else:
        assert said.what == f"{REGISTRY[code].title}."
