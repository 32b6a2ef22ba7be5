"""Bring a database to the schema of this version: `python -m lrtuner.store.migrate [--url URL]`.

Any number of processes may do this at the same time: they take turns, and all but the first find
nothing left to do. A migration that fails leaves the database as it was.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from lrtuner.errors import LRTunerError
from lrtuner.settings import url_from_environment
from lrtuner.store.engine import Database, open_database, shown

#: Not Alembic's default name, which another tool in the same database may use.
VERSION_TABLE = "lrtuner_schema_version"

#: An arbitrary number that nothing else in the database should use for its advisory locks.
_ADVISORY_LOCK = 7_316_283_470


def upgrade(url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate up to `revision`; the revisions before and after, None for an empty database."""
    return _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> tuple[str | None, str | None]:
    """Migrate down to `revision` (`base` empties the database); the revisions before and after."""
    return _run(url, lambda config: command.downgrade(config, revision))


def check(url: str) -> None:
    """Compare the database with `lrtuner.store.tables`.

    Raises:
        alembic.util.CommandError: they differ; the message lists how.
    """
    _run(url, command.check)


def is_current(database: Database) -> bool:
    """Whether the database has exactly the schema this version was written for."""
    with database.reading() as connection:
        return _revision(connection) == _head()


@contextmanager
def exclusively(url: str) -> Iterator[sa.Connection]:
    """One transaction that no other migration runs beside."""
    # SQLite rebuilds a table by dropping it: with foreign keys on, its children would be deleted.
    database = open_database(url, foreign_keys=False)
    try:
        with database.writing() as connection:  # on SQLite this is the only writer
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection
    finally:
        database.close()


def _run(url: str, task: Callable[[Config], object]) -> tuple[str | None, str | None]:
    with exclusively(url) as connection:
        before = _revision(connection)
        config = _config()
        config.attributes["connection"] = connection
        task(config)
        return before, _revision(connection)


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    folder = Path(str(migrations.__file__)).parent
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def main(arguments: list[str] | None = None) -> int:
    """Migrate the database and say what was done."""
    parser = argparse.ArgumentParser(prog="python -m lrtuner.store.migrate", description=__doc__)
    parser.add_argument("--url", help="the database; default: $LRTUNER_DATABASE_URL or SQLite")
    options = parser.parse_args(arguments)
    try:
        url = options.url or url_from_environment()
        before, after = upgrade(url)
    except LRTunerError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    done = (
        f"is at {after} already" if before == after else f"migrated: {before or 'empty'} -> {after}"
    )
    sys.stdout.write(f"{shown(sa.make_url(url))} {done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
