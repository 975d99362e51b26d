"""A coordinator's backup: one file with everything that cannot be made anew, and its way back.

It holds the authority's key: whoever has it can sign for the consortium. Logs, SuperLink's throw-away keys and the lock
are left out. A database of PostgreSQL is not in it; its own tools back it up.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium
from wardround.server.consortium.folder import DATABASE
from wardround.server.files import make_private_folder
from wardround.server.lock import LOCK, STATUS, locked

LEFT_OUT: Final = frozenset({"log", "loopback", LOCK, STATUS})
_SUFFIXES: Final = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
_TRIES: Final = 100
_PAUSE_SECONDS: Final = 0.1
_MADE_ANEW: Final = ("log", "runs", "weights")


def back_up(path: Path, out: Path) -> int:
    """Write a backup of a coordinator's folder, also while the coordinator runs.

    Returns:
        Its length, bytes.

    Raises:
        WardroundError: WR-1914 or WR-1915, folder or database cannot be used; WR-1506, the file is there already or
            cannot be written.
    """
    with Consortium(path):  # a folder that cannot be used is no backup
        pass
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WardroundError("WR-1506", f"{out.name} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                _fill(archive, path)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return out.stat().st_size


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restore.

    Attributes:
        moment: When the backup was made, seconds since 1970, UTC; nothing that happened later is known.
        stopped: Runs that were stopped.
        members: Sites that are members again, also those that were revoked since.
        uninvited: Sites whose open invites were withdrawn.
        roster: Version of the roster now; None: there is none.
    """

    moment: int
    stopped: tuple[str, ...]
    members: tuple[str, ...]
    uninvited: tuple[str, ...]
    roster: int | None


def restore(backup: Path, path: Path) -> Restored:
    """Make a coordinator's folder of a backup.

    Runs that were not over are stopped: the hospitals may be further than the backup. Each can be resumed. Open invites
    are withdrawn, and the roster gets a version that no hospital can have seen. What was revoked after the backup is
    not known here: whoever restores has to look, and to revoke again.

    Args:
        backup: The file.
        path: The folder; made if it is missing, else empty.

    Returns:
        What to tell people.

    Raises:
        WardroundError: WR-1914, the folder is not empty, or the file is no backup.
    """
    make_private_folder(path)
    try:
        with tarfile.open(backup, mode="r:gz") as archive:
            entries = archive.getmembers()
            for entry in entries:
                _unpack(archive, entry, path)
        moment = max((int(entry.mtime) for entry in entries), default=0)
        for name in _MADE_ANEW:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        for item in (path, *path.rglob("*")):
            item.chmod(0o700 if item.is_dir() else 0o600)
        return _taken_up(path, moment)
    except (tarfile.TarError, OSError, EOFError) as error:
        _clear(path)
        raise WardroundError("WR-1914", f"{backup.name} is not a whole backup ({type(error).__name__}).") from error
    except BaseException:
        _clear(path)
        raise


def _unpack(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    """Write one file of a backup. Not ``extractall``: its filters are missing in Python before 3.11.4.

    Raises:
        tarfile.TarError: It is no plain file below the folder, or is there twice.
    """
    place = PurePosixPath(entry.name)
    content = archive.extractfile(entry) if entry.isreg() else None
    if content is None or place.is_absolute() or ".." in place.parts or (path / place).exists():
        raise tarfile.TarError(entry.name)
    (path / place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with content, (path / place).open("xb") as file:
        shutil.copyfileobj(content, file)


def _fill(archive: tarfile.TarFile, path: Path) -> None:
    for item in sorted(path.iterdir()):
        if item.name in LEFT_OUT or item.name in _SUFFIXES:
            continue
        if item.name == DATABASE:
            _add(archive, DATABASE, _database(item))
        elif item.name == "runs":
            for run in sorted(item.iterdir()):
                for name, content in _at_one_moment(run).items():
                    _add(archive, f"runs/{run.name}/{name}", content)
        else:
            for name, content in _contents(item).items():
                _add(archive, f"{item.name}/{name}" if item.is_dir() else item.name, content)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))


def _at_one_moment(run: Path) -> dict[str, bytes]:
    """A run's files between two of its commits: its records and the vectors that they name.

    Raises:
        WardroundError: WR-1506, it commits faster than it can be read.
    """
    for _ in range(_TRIES):
        before = _records(run)
        try:
            found = _contents(run)
        except FileNotFoundError:  # a vector that a commit has made superfluous
            continue
        if _records(run) == before == {name: found.get(name) for name in before}:
            return found
        time.sleep(_PAUSE_SECONDS)
    raise WardroundError("WR-1506", f"Run {run.name} commits faster than it can be read; stop it, or try again.")


def _records(run: Path) -> dict[str, bytes | None]:
    paths = {name: run / name for name in ("open/records", "private/records")}
    return {name: path.read_bytes() if path.exists() else None for name, path in paths.items()}


def _contents(path: Path) -> dict[str, bytes]:
    """The files of a folder by their path in it, without those that are being written; or of a file, its own."""
    if not path.is_dir():
        return {path.name: path.read_bytes()}
    items = [item for item in sorted(path.rglob("*")) if item.is_file() and not item.name.startswith(".")]
    return {item.relative_to(path).as_posix(): item.read_bytes() for item in items}


def _database(path: Path) -> bytes:
    """One moment of a SQLite file that others may be writing to."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as scratch:
        copy = Path(scratch) / DATABASE
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy.read_bytes()


def _taken_up(path: Path, moment: int) -> Restored:
    """The folder as it may go on: its runs stopped, its invites withdrawn, its roster newer than any."""
    with Consortium(path) as consortium, locked(path), consortium.store.transaction():
        store = consortium.store
        runs = store.runs(("waiting", "running"))
        for row in runs:
            words = f"restored from a backup after round {row.committed}; hospitals may be further"
            store.update_run(row.id, state="stopped", words=words)
        uninvited = consortium.begin_anew(store.clock())
        store.add_event("coordinator.restored", words=f"{len(runs)} runs stopped")
        newest = store.newest_roster()
        return Restored(
            moment=moment,
            stopped=tuple(row.id for row in runs),
            members=tuple(row.name for row in store.sites() if row.state == "member"),
            uninvited=uninvited,
            roster=None if newest is None else newest.roster.version,
        )


def _clear(path: Path) -> None:
    for item in path.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()
