"""Files and folders that only the coordinator's account may read."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


def make_private_folder(path: Path) -> None:
    """Make a folder of mode 0700, parents included; one that is there must be its owner's alone and empty.

    Raises:
        WardroundError: WR-1914, it is not empty, no folder, or open to other accounts.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise WardroundError("WR-1914", "The folder is not empty.")
    path.chmod(0o700)


def check_private(path: Path) -> None:
    """Refuse what other accounts of the machine may read or change.

    Raises:
        WardroundError: WR-1914, its mode gives others a right, or it is not there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise WardroundError("WR-1914", f"{path.name} cannot be read ({type(error).__name__}).") from error
    if stat.S_IMODE(mode) & 0o077:
        fix = f"Take the rights of others away (chmod -R go= on the folder), and find out who read {path.name}."
        raise WardroundError("WR-1914", f"{path.name} is open to other accounts of this machine.", fix=fix)


def read_private(path: Path) -> bytes:
    """The content of a file that must be its owner's alone.

    Raises:
        WardroundError: WR-1914, it is missing, cannot be read, or is open to other accounts.
    """
    check_private(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise WardroundError("WR-1914", f"{path.name} cannot be read ({type(error).__name__}).") from error


def append_private(path: Path) -> BinaryIO:
    """Open a file of mode 0600 to add to it; it is made if it is missing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that it is either the old or the new one, whatever happens; durable on return."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
