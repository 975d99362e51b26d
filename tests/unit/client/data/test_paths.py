"""No path leaves the data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.client.data.paths import LeavesRootError, inside, inside_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"")
    return folder


@pytest.mark.parametrize("text", ["images/a.png", "./images/a.png", "images//a.png", "images/..a.png", "absent.png"])
def test_inside(root: Path, text: str) -> None:
    assert inside(root, text).is_relative_to(root.resolve())


@pytest.mark.parametrize(
    "text",
    ["../secret", "images/../../secret", "/etc/passwd", "C:/secret", "C:secret", "\\\\host\\share", "a\\b", "a\0b"],
)
def test_outside(root: Path, text: str) -> None:
    with pytest.raises(LeavesRootError):
        inside(root, text)


def test_links_are_followed_before_they_are_judged(root: Path) -> None:
    (root / "images" / "near").symlink_to(root / "images" / "a.png")
    (root / "images" / "far").symlink_to(root.parent / "secret")
    (root / "up").symlink_to(root.parent)
    assert inside_folder(root, root / "images", "near") == (root / "images" / "a.png").resolve()
    for folder, name in ((root / "images", "far"), (root, "up/secret")):
        with pytest.raises(LeavesRootError, match="link"):
            inside_folder(root, folder, name)


def test_root_may_be_a_link_itself(root: Path) -> None:
    mount = root.parent / "mount"
    mount.symlink_to(root)
    assert inside(mount, "images/a.png") == (root / "images" / "a.png").resolve()


def test_endless_links(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        inside(root, "loop/a.png").read_bytes()
