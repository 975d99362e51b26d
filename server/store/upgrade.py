"""Bring a database's tables up to this release; nothing is ever taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text

from wardround.common.errors import WardroundError
from wardround.server.store.database import WRITES, refusals
from wardround.server.store.tables import HEAD

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection, Engine

_LOCK: Final = 0x5752535452
"""Number of the lock that upgrades of one PostgreSQL database take turns by."""


def upgrade(engine: Engine) -> None:
    """Run the migrations that a database lacks, all in one transaction.

    Raises:
        WardroundError: WR-1915, it cannot be reached, or was made by a newer release.
    """
    with refusals(), engine.connect() as plain:
        connection = plain.execution_options(**{WRITES: True})
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if _revision(connection) != HEAD:
                _migrate(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = migrations()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = _revision(connection)
    if revision is not None and revision not in known:
        fix = "Install the newest wardround on this machine; a database is never taken back."
        raise WardroundError("WR-1915", "The database was made by a newer release.", fix=fix)
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def migrations() -> Config:
    """Where the migrations are, for alembic."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
