"""Steps that bring an older database up to this release, run by alembic; one a release that changes tables."""
