"""The error registry: every code once, every error survives a process boundary."""

from __future__ import annotations

import pickle
import re

import pytest

from wardround.common.errors import REGISTRY, WardroundError


def test_codes_are_well_formed_and_explained() -> None:
    assert len(REGISTRY) > 30
    for code, page in REGISTRY.items():
        assert re.fullmatch(r"WR-\d{4}", code)
        assert page.code == code
        for text in (page.cause, page.remedy):
            assert text.endswith(".")
            assert len(text) > 20


def test_unregistered_codes_are_bugs() -> None:
    assert WardroundError("WR-1001", "It happened.").code == "WR-1001"
    with pytest.raises(RuntimeError, match="WR-9999"):
        WardroundError("WR-9999", "It happened.")


def test_errors_travel_between_worker_processes() -> None:
    error = pickle.loads(pickle.dumps(WardroundError("WR-1002", "It happened.", fix="Do this.")))  # noqa: S301
    assert (error.code, error.what, error.fix) == ("WR-1002", "It happened.", "Do this.")
    assert str(error) == "WR-1002: It happened. Do this."
