"""A PostgreSQL server for tests: run by an unprivileged account, on a Unix socket in a folder of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER = "wardround"
PATIENCE = 60.0


def folder_of_programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are; None: nowhere."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    places += [Path(found).parent] if found else []
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


@contextmanager
def server(programs: Path) -> Iterator[Callable[[], str]]:
    """A server that runs until the end of the block; what it gives makes an empty database and says its URL."""
    folder = Path(tempfile.mkdtemp(prefix="wardround-pg-"))  # short: a socket's path has at most 107 bytes
    try:
        account = _account(folder)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=folder,
            **account,
        )
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **account)
        try:
            _wait(folder, process)
            numbers = itertools.count()
            yield lambda: _new_database(folder, f"wards_{next(numbers)}")
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed
            process.wait(PATIENCE)
    finally:
        shutil.rmtree(folder)


def _account(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to be run by root: then it is run by ``nobody``, whose the folder becomes."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(host=str(folder), user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _new_database(folder: Path, name: str) -> str:
    with psycopg.connect(host=str(folder), user=USER, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://{USER}@/{name}?host={folder}"
