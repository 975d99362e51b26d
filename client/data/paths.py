"""Paths of a table, kept below the data folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath, PureWindowsPath


class LeavesRootError(Exception):
    """A path does not stay below the data folder; the message says how, without the path."""


def inside(root: Path, text: str) -> Path:
    """Resolve ``text`` below ``root``, following links, and refuse whatever leaves it.

    Args:
        root: The data folder.
        text: A relative path with ``/`` between its parts.

    Returns:
        The resolved path; whether it exists is the caller's question.

    Raises:
        LeavesRootError: Absolute, with ``..`` or a backslash, or led outside by a link.
        OSError: The path cannot be followed, for example because of a loop of links.
    """
    return _below(root, root, text)


def inside_folder(root: Path, folder: Path, text: str) -> Path:
    """As :func:`inside`, for a path that starts from ``folder``, itself below ``root``."""
    return _below(root, folder, text)


def _below(root: Path, start: Path, text: str) -> Path:
    windows = PureWindowsPath(text)
    if PurePosixPath(text).is_absolute() or windows.drive or windows.root:
        raise LeavesRootError("is an absolute path")
    if "\\" in text or "\0" in text:
        raise LeavesRootError("contains a backslash or a zero byte")
    if ".." in PurePosixPath(text).parts:
        raise LeavesRootError("contains '..'")
    resolved_root = root.resolve()
    try:
        path = Path(start, text).resolve()
    except RuntimeError as error:  # Python before 3.13 says this of a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
    if not path.is_relative_to(resolved_root):
        raise LeavesRootError("leads out of the data folder through a link")
    return path
