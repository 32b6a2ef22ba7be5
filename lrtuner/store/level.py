"""What schema a database has. (Without Alembic, which only what changes it needs.)"""

from enum import StrEnum
from functools import cache
from pathlib import Path

import sqlalchemy as sa

import migrations
from lrtuner.store.engine import Database

#: Not Alembic's default name, which another tool in the same database may use.
VERSION_TABLE = "lrtuner_schema_version"

MIGRATIONS = Path(str(migrations.__file__)).parent


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
        revision = revision_of(connection)
    if revision is None:
        return Level.EMPTY, None
    if revision in revisions():
        return (Level.CURRENT if revision == newest() else Level.OLDER), revision
    return (Level.NEWER if is_later(revision) else Level.FOREIGN), revision


def is_migrated(database: Database) -> bool:
    """Whether the database has what this version needs: its own schema, or a later one."""
    return level_of(database)[0] in (Level.CURRENT, Level.NEWER)


def revision_of(connection: sa.Connection) -> str | None:
    """The revision that the database was migrated to; None if it never was."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.column("version_num", sa.Text)
    query = sa.select(version).select_from(sa.table(VERSION_TABLE))
    return connection.execute(query).scalar_one_or_none()


def newest() -> str:
    """The revision that this version was written for."""
    return revisions()[0]


@cache
def revisions() -> list[str]:
    """Those that this version knows, the newest first: the numbers that the files begin with."""
    files = (MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return sorted((file.name.partition("_")[0] for file in files), reverse=True)


def is_later(revision: str) -> bool:
    """Whether a revision is of a version that comes after this one."""
    return revision.isdecimal() and int(revision) > int(newest())
