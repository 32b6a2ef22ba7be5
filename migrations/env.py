"""Runs migrations on the connection that `lrtuner.store.migrate` opened and locked.

The `alembic` command works too, on the database that the environment names; it takes no lock.
"""

import sqlalchemy as sa
from alembic import context

from lrtuner.settings import url_from_environment
from lrtuner.store.engine import open_database
from lrtuner.store.level import VERSION_TABLE
from lrtuner.store.tables import metadata


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        render_as_batch=True,  # SQLite alters a table by rebuilding it
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    raise SystemExit("SQL scripts (--sql) are not supported: migrations need a connection")
else:
    with open_database(url_from_environment(), foreign_keys=False).writing() as opened:
        run(opened)
