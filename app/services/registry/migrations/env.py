"""How does Alembic reach the database? Through the connection that the caller puts into ``config.attributes``.

There is no ``alembic.ini``: the gateway migrates by itself at its start. The caller owns the transaction, so that a
migration that fails half-way leaves the database as it was.
"""

from __future__ import annotations

from alembic import context

from app.services.registry.tables import metadata


def run() -> None:
    """Run the migrations on the given connection.

    Raises:
        RuntimeError: no connection was given.
    """
    connection = context.config.attributes.get("connection")
    if connection is None:
        message = "migrations run on a connection given as config.attributes['connection']; start the gateway instead"
        raise RuntimeError(message)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
