"""The tables of the coordinator's database, as the newest migration leaves them (a test compares both).

Documents that somebody signed are kept as the text that was signed; columns beside them are copies to search by.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

HEAD: Final = "r0001"
"""The newest migration."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Moment: Final = BigInteger
_Number: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up in INTEGER columns alone
_Site: Final = String(64)
_Hash: Final = String(71)  # "sha256:" and 64 hex digits

settings: Final = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

writes: Final = Table(
    "writes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

sites: Final = Table(
    "sites",
    metadata,
    Column("name", _Site, primary_key=True),
    Column("label", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("identity", String(64), unique=True),
    Column("node", Text, unique=True),
    Column("joined_at", _Moment),
    Column("revoked_at", _Moment),
    Column("reason", Text, nullable=False),
    Column("heard_at", _Moment),
    Column("release", String(128)),
    Column("roster", BigInteger),
    Column("report", Text),
)

keys: Final = Table(
    "keys",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("site", _Site, ForeignKey(sites.c.name), nullable=False),
)

certificates: Final = Table(
    "certificates",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("site", _Site, ForeignKey(sites.c.name), nullable=False, index=True),
    Column("pin", String(64), nullable=False),
    Column("pem", Text, nullable=False),
    Column("request", _Hash, index=True),
    Column("issued_at", _Moment, nullable=False),
    Column("until", _Moment, nullable=False),
    Column("revoked_at", _Moment),
)

invites: Final = Table(
    "invites",
    metadata,
    Column("pin", String(64), primary_key=True),
    Column("site", _Site, ForeignKey(sites.c.name), nullable=False, index=True),
    Column("certificate", Text, nullable=False),
    Column("made_at", _Moment, nullable=False),
    Column("until", _Moment, nullable=False),
    Column("used_at", _Moment),
    Column("request", _Hash),
)

rosters: Final = Table(
    "rosters",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("signed", Text, nullable=False),
)

studies: Final = Table(
    "studies",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("id", _Hash, nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("sites", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("proposed_at", _Moment, nullable=False),
    Column("signed", Text, nullable=False),
)

decisions: Final = Table(
    "decisions",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("study", _Hash, ForeignKey(studies.c.id), nullable=False),
    Column("site", _Site, ForeignKey(sites.c.name), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("second", Text),
    Column("reason", Text, nullable=False),
    Column("decided_at", _Moment, nullable=False),
    Column("signed", Text, nullable=False),
    Index("ix_decisions_study", "study", "site"),
)

runs: Final = Table(
    "runs",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("id", String(128), nullable=False, unique=True),
    Column("study", _Hash, ForeignKey(studies.c.id), nullable=False, index=True),
    Column("state", String(32), nullable=False, index=True),
    Column("by", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("without", Text, nullable=False),
    Column("committed", Integer, nullable=False),
    Column("words", Text, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("changed_at", _Moment, nullable=False),
)

events: Final = Table(
    "events",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("site", _Site),
    Column("study", _Hash),
    Column("run", String(128)),
    Column("words", Text, nullable=False),
)

heads: Final = Table(
    "heads",
    metadata,
    Column("site", _Site, ForeignKey(sites.c.name), primary_key=True),
    Column("signed", Text, nullable=False),
)
