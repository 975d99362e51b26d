"""A folder is made whole or not at all, once for the same inputs."""

from pathlib import Path

import pytest

from wardround.simulations.sites.folder import make_once


class Writer:
    """Fills folders and counts how often."""

    def __init__(self, text: str = "x", *, fails: bool = False) -> None:
        self.calls = 0
        self.text = text
        self.fails = fails

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "images").mkdir()
        (folder / "images" / "1.png").write_text(self.text)
        if self.fails:
            raise RuntimeError("power cut")
        (folder / "manifest.toml").write_text(self.text)


def test_the_same_inputs_are_made_once(tmp_path: Path) -> None:
    writer = Writer()
    for _ in range(2):
        make_once(tmp_path / "site", ["a", 1], writer)
    assert writer.calls == 1
    assert (tmp_path / "site" / "manifest.toml").read_text() == "x"


def test_other_inputs_replace_what_is_there(tmp_path: Path) -> None:
    make_once(tmp_path / "site", ["a"], Writer("old"))
    make_once(tmp_path / "site", ["b"], Writer("new"))
    assert (tmp_path / "site" / "manifest.toml").read_text() == "new"


def test_an_interrupted_filling_leaves_nothing_and_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        make_once(tmp_path / "site", ["a"], Writer("half", fails=True))
    assert not (tmp_path / "site").exists()
    make_once(tmp_path / "site", ["a"], Writer("whole"))
    assert (tmp_path / "site" / "images" / "1.png").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("damage", ["removed", "cut", "record"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    site = tmp_path / "site"
    make_once(site, ["a"], Writer("first"))
    if damage == "removed":
        (site / "images" / "1.png").unlink()
    elif damage == "cut":
        (site / "images" / "1.png").write_text("")
    else:
        (site / "made_from.json").write_text("[")
    again = Writer("first")
    make_once(site, ["a"], again)
    assert again.calls == 1
    assert (site / "images" / "1.png").read_text() == "first"
