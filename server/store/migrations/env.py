"""What alembic runs to migrate; the connection and its transaction are the caller's."""

from alembic import context

from wardround.server.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
context.run_migrations()
