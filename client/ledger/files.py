"""Files that people name on the command line: what is read of them, and where nothing may be written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import ValidationError

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import SignedHead

if TYPE_CHECKING:
    from pathlib import Path


def check_target(path: Path, home: Path, *, force: bool) -> None:
    """Refuse to write over the hospital's own files, and over any other file unless that is wanted.

    Args:
        path: The file that is to be written.
        home: The hospital's home folder. Nothing in it is written, whatever ``force`` says.
        force: Whether a file that is there may be replaced.

    Raises:
        WardroundError: WR-1813.
    """
    try:
        target = path.resolve()
        inside = any(folder.exists() and folder.samefile(home) for folder in (target, *target.parents))
        exists, is_file = target.exists(), target.is_file()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to one another
        raise _unwritable(path, error) from error
    if inside:
        what = f"--out {path.name} lies in the hospital's home folder, where nothing is written over."
        raise WardroundError("WR-1813", what, fix="Give --out a file outside the home folder.")
    if exists and not (force and is_file):
        what = f"--out {path.name} is there already."
        raise WardroundError("WR-1813", what, fix="Give --out another name, or replace a file with --force.")


def write_target(path: Path, content: bytes) -> None:
    """Write a file that :func:`check_target` has let through, whole or not at all.

    Raises:
        WardroundError: WR-1813.
    """
    try:
        write_atomically(path.resolve(), content)
    except (OSError, RuntimeError) as error:
        raise _unwritable(path, error) from error


def read_text(path: Path, argument: str) -> str:
    """The text of a file, or of the input where ``path`` is ``-``; without a byte order mark.

    Args:
        path: The file.
        argument: Which argument of the command names it.

    Raises:
        WardroundError: WR-1813.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode("utf-8-sig")  # spreadsheets write the mark
    except (OSError, UnicodeDecodeError) as error:
        what = f"{argument} {path.name} cannot be read ({type(error).__name__})."
        raise WardroundError("WR-1813", what, fix=f"Give {argument} a text file (UTF-8) that you may read.") from error


def read_head_file(path: Path) -> SignedHead:
    """A head that a witness kept.

    Raises:
        WardroundError: WR-1813, the file cannot be read; WR-1816, it holds something else.
    """
    try:
        return SignedHead.model_validate_json(read_text(path, "--head"))
    except ValidationError:
        what = f"--head {path.name} does not hold the head of a ledger."
        fix = "Give --head the file (JSON) that a witness kept, or leave it out: then the worst case is charged."
        raise WardroundError("WR-1816", what, fix=fix) from None


def _unwritable(path: Path, error: Exception) -> WardroundError:
    what = f"--out {path.name} cannot be written ({type(error).__name__})."
    fix = "Give --out a file in a folder that exists, that you may write to, and that has room."
    return WardroundError("WR-1813", what, fix=fix)
