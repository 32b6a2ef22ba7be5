"""Bring a database to the schema of this version: `python -m lrtuner.store.migrate [--url URL]`.

Any number of processes may do this at the same time: they take turns, and all but the first find
nothing left to do. A migration that fails leaves the database as it was.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from lrtuner.errors import InvalidInputError, LRTunerError
from lrtuner.settings import url_from_environment
from lrtuner.store.engine import Database, open_database, shown

#: Not Alembic's default name, which another tool in the same database may use.
VERSION_TABLE = "lrtuner_schema_version"

#: An arbitrary number that nothing else in the database should use for its advisory locks.
_ADVISORY_LOCK = 7_316_283_470


def upgrade(url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate up to `revision`; the revisions before and after, None for an empty database.

    Nothing is done to the database of a later version.

    Raises:
        InvalidInputError: its revision is of no version.
    """
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


class Level(StrEnum):
    """What schema a database has, as this version sees it."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    #: A later version's. Migrations only add, so it has all that this version needs: this one goes
    #: on while the next is rolled out, and can be gone back to.
    NEWER = "newer"
    #: Of no version that this one could know of.
    FOREIGN = "foreign"


def level_of(database: Database) -> tuple[Level, str | None]:
    """Its level, and its revision, None if it has none."""
    with database.reading() as connection:
        revision = _revision(connection)
    if revision is None:
        return Level.EMPTY, None
    known = _revisions()
    if revision in known:
        return (Level.CURRENT if revision == known[0] else Level.OLDER), revision
    return (Level.NEWER if _is_later(revision, known[0]) else Level.FOREIGN), revision


def newest() -> str:
    """The revision that this version was written for."""
    return _revisions()[0]


def is_migrated(database: Database) -> bool:
    """Whether the database has what this version needs: its own schema, or a later one."""
    return level_of(database)[0] in (Level.CURRENT, Level.NEWER)


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
        if before is not None and before not in _revisions():
            return _unknown(before)
        config = _config()
        config.attributes["connection"] = connection
        task(config)
        return before, _revision(connection)


def _unknown(revision: str) -> tuple[str, str]:
    if not _is_later(revision, newest()):
        raise InvalidInputError(f"the database's revision {revision!r} is of no version of lrtuner")
    return revision, revision


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


@cache
def _revisions() -> list[str]:
    """Those that this version knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _is_later(revision: str, than: str) -> bool:
    return revision.isdecimal() and int(revision) > int(than)


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
    done = f"migrated: {before or 'empty'} -> {after}"
    if before == after:
        newer = "" if after in _revisions() else ", that of a later version"
        done = f"is at {after} already{newer}"
    sys.stdout.write(f"{shown(sa.make_url(url))} {done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
