"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table("settings", sa.Column("name", sa.String(64), primary_key=True), _text("value"))
    op.create_table("writes", sa.Column("number", sa.Integer, primary_key=True), _count("count"))
    op.execute("INSERT INTO writes (number, count) VALUES (1, 0)")
    _members()
    _studies()
    _records()


def _members() -> None:
    op.create_table(
        "sites",
        sa.Column("name", sa.String(64), primary_key=True),
        _text("label"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("identity", sa.String(64), unique=True),
        sa.Column("node", sa.Text, unique=True),
        sa.Column("joined_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        _text("reason"),
        sa.Column("heard_at", sa.BigInteger),
        sa.Column("release", sa.String(128)),
        sa.Column("roster", sa.BigInteger),
        sa.Column("report", sa.Text),
    )
    op.create_table("keys", sa.Column("key", sa.String(80), primary_key=True), _site())
    op.create_table(
        "certificates",
        sa.Column("hash", sa.String(64), primary_key=True),
        _site(),
        sa.Column("pin", sa.String(64), nullable=False),
        _text("pem"),
        sa.Column("request", sa.String(71)),
        _count("issued_at"),
        _count("until"),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("ix_certificates_site", "certificates", ["site"])
    op.create_index("ix_certificates_request", "certificates", ["request"])
    op.create_table(
        "invites",
        sa.Column("pin", sa.String(64), primary_key=True),
        _site(),
        _text("certificate"),
        _count("made_at"),
        _count("until"),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("request", sa.String(71)),
    )
    op.create_index("ix_invites_site", "invites", ["site"])
    version = sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False)
    op.create_table("rosters", version, _text("signed"))


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(71), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False),
        *(_text(name) for name in ("title", "sites", "by", "why")),
        _count("proposed_at"),
        _text("signed"),
    )
    op.create_table(
        "decisions",
        sa.Column("number", _NUMBER, primary_key=True),
        _study(),
        _site(),
        sa.Column("verdict", sa.String(16), nullable=False),
        _text("by"),
        sa.Column("second", sa.Text),
        _text("reason"),
        _count("decided_at"),
        _text("signed"),
    )
    op.create_index("ix_decisions_study", "decisions", ["study", "site"])
    op.create_table(
        "runs",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(128), nullable=False, unique=True),
        _study(),
        sa.Column("state", sa.String(32), nullable=False),
        _text("by"),
        _count("seed"),
        _text("without"),
        sa.Column("committed", sa.Integer, nullable=False),
        _text("words"),
        _count("created_at"),
        _count("changed_at"),
    )
    op.create_index("ix_runs_study", "runs", ["study"])
    op.create_index("ix_runs_state", "runs", ["state"])


def _records() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True),
        _count("at"),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("site", sa.String(64)),
        sa.Column("study", sa.String(71)),
        sa.Column("run", sa.String(128)),
        _text("words"),
    )
    owner = sa.Column("site", sa.String(64), sa.ForeignKey("sites.name"), primary_key=True)
    op.create_table("heads", owner, _text("signed"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _site() -> sa.Column[str]:
    return sa.Column("site", sa.String(64), sa.ForeignKey("sites.name"), nullable=False)


def _study() -> sa.Column[str]:
    return sa.Column("study", sa.String(71), sa.ForeignKey("studies.id"), nullable=False)
