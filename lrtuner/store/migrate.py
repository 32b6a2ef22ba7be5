"""Bring a database to the schema of this version: `python -m lrtuner.store.migrate [--url URL]`.

Any number of processes may do this at the same time: they take turns, and all but the first find
nothing left to do. A migration that fails leaves the database as it was.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from lrtuner.errors import InvalidInputError, LRTunerError
from lrtuner.settings import url_from_environment
from lrtuner.store.engine import open_database, shown
from lrtuner.store.level import MIGRATIONS, is_later, revision_of, revisions

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
        before = revision_of(connection)
        if before is not None and before not in revisions():
            return _unknown(before)
        config = _config()
        config.attributes["connection"] = connection
        task(config)
        return before, revision_of(connection)


def _unknown(revision: str) -> tuple[str, str]:
    if not is_later(revision):
        raise InvalidInputError(f"the database's revision {revision!r} is of no version of lrtuner")
    return revision, revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
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
        newer = "" if after in revisions() else ", that of a later version"
        done = f"is at {after} already{newer}"
    sys.stdout.write(f"{shown(sa.make_url(url))} {done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
