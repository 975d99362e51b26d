"""Problems become one refusal; nothing to refuse is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.client.data.problems import Problem, refuse
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path


def problem(row: int, code: str = "WR-1107") -> Problem:
    return Problem(row, "image", code, "is a damaged PNG file", "Doe.png")


def test_no_problem(tmp_path: Path) -> None:
    refuse([], "site", [tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_one_and_several_kinds(tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match=r"2 problems in rows 2, 9: .*is a damaged PNG file") as one:
        refuse([problem(9), problem(2)], "site", [tmp_path])
    assert one.value.code == "WR-1107"
    with pytest.raises(WardroundError, match="2 problems in row 9") as several:
        refuse([problem(9), problem(9, "WR-1114")], "site", [tmp_path])
    assert several.value.code == "WR-1106"
    assert "Doe" not in str(several.value)


def test_a_link_in_the_place_of_the_details_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "site.problems.csv").symlink_to(victim)
    with pytest.raises(WardroundError, match="could not be written"):
        refuse([problem(2)], "site", [folder])
    assert victim.read_text(encoding="utf-8") == "mine"
