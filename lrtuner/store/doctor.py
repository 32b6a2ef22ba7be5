"""Examine the database: `python -m lrtuner.store.doctor`; JSON on stdout. Nothing is changed."""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from lrtuner.diagnosis import Diagnosis, Examination, fine, invalid_settings, warned, wrong
from lrtuner.errors import DatabaseDownError, InvalidInputError, LRTunerError
from lrtuner.settings import DatabaseSettings, url_from_environment, variable
from lrtuner.store.engine import Database, DatabaseClock, file_of, open_database, parsed_url, shown
from lrtuner.store.level import Level, level_of, newest

LOCK_PATIENCE_SECONDS = 2.0
MOST_SKEW_SECONDS = 5.0

#: File systems on which locks and shared memory do not hold between machines.
_SHARES = ("nfs", "cifs", "smb", "9p", "afs", "fuse.sshfs", "fuse.glusterfs", "ceph", "lustre")
_MOUNTS = Path("/proc/self/mounts")

_MIGRATE = "run `lrtuner migrate`"


def diagnose() -> list[Diagnosis]:
    """All that can be said of the database that the environment names."""
    try:
        url = parsed_url(url_from_environment())
    except InvalidInputError as error:
        return invalid_settings(error)
    file = file_of(url)
    found = _of_file(file) if file else None
    if found:
        return [found]
    database = open_database(url.render_as_string(hide_password=False))
    try:
        return [*_of_schema(database), *_of_clock(database)]
    except LRTunerError as error:
        told = f"{shown(url)}: {error}"
        return [wrong("database", told.partition("\n")[0], _reach(url))]
    finally:
        database.close()


def network_share(path: Path, mounts: str) -> str | None:
    """The kind of network share that a path is on, by a table of mounts; None if it is on none."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) > longest:
            kind, longest = found, len(point)
    return kind if kind.startswith(_SHARES) else None


def _of_file(path: Path) -> Diagnosis | None:
    """What is wrong with a SQLite file, if anything is."""
    if not path.exists():
        asked_for = any(os.environ.get(variable(name)) for name in DatabaseSettings.model_fields)
        missing = wrong if asked_for else warned  # else nothing of ours was ever run here
        return missing("database", f"{path} is not there", f"{_MIGRATE}, which makes the file")
    mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    share = network_share(path.resolve(), mounts)
    if share:
        remedy = (
            "put it on a local disk (LRTUNER_DATA_DIR), or use PostgreSQL: SQLite loses data there"
        )
        return wrong("database", f"{path} is on a network share ({share})", remedy)
    try:
        _take_write_lock(path)
    except sqlite3.Error as error:
        return wrong("database", f"{path}: {error}", _mend(error, path))
    return None


def _take_write_lock(path: Path) -> None:
    address = f"{path.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        address, uri=True, timeout=LOCK_PATIENCE_SECONDS, isolation_level=None
    )
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _mend(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        held = f"some process has held its lock for {LOCK_PATIENCE_SECONDS:g} s"
        return f"{held}: `fuser {path}` shows which; end it, or wait"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return "it is no database, or a damaged one: restore it from a backup"
    return f"give the user of this process the right to write {path} and its folder"


def _of_schema(database: Database) -> Iterator[Diagnosis]:
    level, revision = level_of(database)
    yield fine("database", f"{database} answers")
    match level:
        case Level.CURRENT:
            yield fine("migrations", f"{revision}, as this version needs")
        case Level.NEWER:
            told = f"{revision} is that of a later version; this one goes on"
            yield warned(
                "migrations", told, "update this one, too, once the other has proved itself"
            )
        case Level.EMPTY | Level.OLDER:
            told = f"{revision or 'there are no tables'}; this version needs {newest()}"
            yield wrong("migrations", told, _MIGRATE)
        case Level.FOREIGN:
            told = f"{revision!r} is of no version of lrtuner"
            yield wrong("migrations", told, "does LRTUNER_DATABASE_URL name the right database?")


def _of_clock(database: Database) -> Iterator[Diagnosis]:
    if file_of(database.url):  # it is this machine's own
        return
    with database.reading() as connection:
        before = time.time()
        theirs = connection.scalar(sa.select(DatabaseClock())) or 0.0
        skew = theirs - (before + time.time()) / 2
    if abs(skew) <= MOST_SKEW_SECONDS:
        yield fine("clock", "the database's and this machine's agree")
        return
    where = "ahead of" if skew > 0 else "behind"
    told = f"the database's clock is {abs(skew):.0f} s {where} this machine's"
    yield warned("clock", told, "let NTP set both: deadlines and keys go by the database's")


def _reach(url: sa.URL) -> str:
    if file_of(url):
        return "see that the disk has room and the user of this process may write there"
    return "does PostgreSQL run there, and are host, port, user, password and database name right?"


def main() -> int:
    """Print what was found."""
    try:
        found = diagnose()
    except DatabaseDownError as error:
        found = [wrong("database", str(error), "see the database's own log")]
    names = [variable(name) for name in DatabaseSettings.model_fields]
    sys.stdout.write(Examination(found, names).text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
