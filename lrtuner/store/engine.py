"""The database: which URLs work, how each dialect is opened, and what time it is there."""

import hashlib
import json
import selectors
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, DontWrapMixin
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler

from lrtuner.errors import (
    DatabaseDownError,
    DatabaseFullError,
    InvalidInputError,
    UnsupportedError,
)

#: How long a statement waits for another SQLite writer, and a connect attempt for PostgreSQL.
LOCK_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10

#: A process that stops inside a transaction keeps its job's row locked, and a locked row is skipped
#: by every claim. PostgreSQL ends such a session after this time.
IDLE_TRANSACTION_SECONDS = 30

#: A connection to PostgreSQL that was used within this time is there, if its end is.
TRUSTED_SECONDS = 10

_POSTGRESQL_DISK_FULL = "53100"

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


class NotStorableError(InvalidInputError, DontWrapMixin):
    """The value cannot be kept in the same way by every database."""


class DatabaseClock(sa.FunctionElement[float]):
    """The database's wall clock as epoch seconds, a number on both databases.

    Deadlines are compared on this clock only, so that the clocks of workers do not matter.
    """

    type = sa.Double()
    inherit_cache = True


@compiles(DatabaseClock, "sqlite")
def _sqlite_clock(_element: DatabaseClock, _compiler: SQLCompiler, **_options: Any) -> str:
    # unixepoch('subsec') reads better, but is NULL before SQLite 3.42: nothing would ever expire.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(DatabaseClock, "postgresql")
def _postgresql_clock(_element: DatabaseClock, _compiler: SQLCompiler, **_options: Any) -> str:
    # now() would stand still at the start of the transaction.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def one_at_a_time(connection: sa.Connection, what: str) -> None:
    """Wait until no other transaction does the same, and let none before this one ends.

    Queries that follow see what the others have done. On SQLite there is one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


@dataclass(frozen=True)
class Database:
    """An open database: short transactions to write in, and consistent snapshots to read from.

    On SQLite every `writing` block takes the write lock at its start, so read-then-write inside it
    is atomic, and `reading` never takes it.
    """

    url: sa.URL
    _writer: sa.Engine
    _reader: sa.Engine

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            DatabaseDownError: the database cannot be reached, is locked for too long, or went away
                inside the block. Nothing was written, unless it went away during the commit: read
                before you write again.
            DatabaseFullError: its disk is full; nothing was written.
        """
        with _answering(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One snapshot: all queries of the block see the same moment; writes are refused.

        Raises:
            DatabaseDownError: the database cannot be reached, or went away inside the block.
        """
        with _answering(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection, and what a thread still works with when it is done."""
        for engine in (self._writer, self._reader):
            sa.event.listen(engine.pool, "checkin", _close_instead)
            engine.dispose()

    def __str__(self) -> str:
        return shown(self.url)


def shown(url: sa.URL) -> str:
    """The address without what may be secret in it: the password, and all options."""
    return url.set(query={}).render_as_string(hide_password=True)


def _close_instead(_connection: object, record: ConnectionPoolEntry) -> None:
    """A connection that comes back to a disposed pool would stay open until it is forgotten."""
    record.invalidate()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sa.exc.TimeoutError) as error:
        if _is_full(error):
            raise DatabaseFullError(f"the database has no room: {error.args[0]}") from error
        if not _is_outage(error):
            raise
        raise DatabaseDownError(f"the database does not answer: {error.args[0]}") from error


def _is_full(error: DBAPIError | sa.exc.TimeoutError) -> bool:
    original = getattr(error, "orig", None)
    if getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return True
    return getattr(original, "sqlstate", None) == _POSTGRESQL_DISK_FULL


def _is_outage(error: DBAPIError | sa.exc.TimeoutError) -> bool:
    if isinstance(error, sa.exc.TimeoutError) or error.connection_invalidated:
        return True
    # SQLite has one class for a file that cannot be opened and for a mistake in the query.
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
    mistaken = code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY)
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not mistaken


def open_database(url: str, *, foreign_keys: bool = True) -> Database:
    """Open the database at `url`; a SQLite file and its folder are created when missing.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host/name`.
        foreign_keys: False only for migrations, which on SQLite rebuild tables by dropping them.

    Raises:
        InvalidInputError: `url` is no URL.
        UnsupportedError: another database, or a SQLite database in memory.
    """
    parsed = parsed_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, foreign_keys=foreign_keys)
    return _open_postgresql(parsed)


def file_of(url: sa.URL) -> Path | None:
    """The file of a SQLite database; None for a database of another kind."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def parsed_url(url: str) -> sa.URL:
    """The URL of a database that is known here, with its driver.

    Raises:
        InvalidInputError: `url` is no URL.
        UnsupportedError: another database.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause is repeated: a mistyped URL may hold a password.
        raise InvalidInputError(
            "the database URL must look like sqlite:///path or postgresql://user@host/name"
        ) from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise UnsupportedError(
            f"database {parsed.drivername!r} is not supported; use sqlite:///path or postgresql://..."
        )
    return parsed.set(drivername=driver)


def _open_sqlite(url: sa.URL, *, foreign_keys: bool) -> Database:
    path = url.database or ":memory:"
    if path == ":memory:" or path.startswith("file:"):
        raise UnsupportedError("a SQLite database must be a plain file: sqlite:///path")
    Path(path).parent.mkdir(parents=True, exist_ok=True)

    def engine(begin: str, *pragmas: str) -> sa.Engine:
        engine = sa.create_engine(
            url,
            connect_args={"timeout": LOCK_TIMEOUT_SECONDS},
            json_serializer=_dump_document,
            hide_parameters=True,  # an error goes to the log; secrets of webhooks do not
        )

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: object) -> None:
            # Transactions begin below. The driver would begin them late, and never for a SELECT.
            connection.isolation_level = None
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}").close()

        @sa.event.listens_for(engine, "begin")
        def start(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    # synchronous=FULL: a commit that was answered survives a power cut, also in WAL mode.
    checks = f"foreign_keys = {'ON' if foreign_keys else 'OFF'}"
    writer = engine("BEGIN IMMEDIATE", "synchronous = FULL", checks)
    sa.event.listen(writer, "connect", _use_wal)
    return Database(url, writer, engine("BEGIN", "query_only = ON"))


def _use_wal(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers and the writer work side by side; the file remembers it."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # Two processes that open a new file at once: this statement does not wait by itself.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise UnsupportedError("SQLite needs a local disk: this folder does not support WAL files")


def _open_postgresql(url: sa.URL) -> Database:
    engine = sa.create_engine(
        url,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
        json_serializer=_dump_document,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        timeout = f"{IDLE_TRANSACTION_SECONDS}s"
        connection.execute(f"SET idle_in_transaction_session_timeout = '{timeout}'")
        connection.commit()

    _ping_when_in_doubt(engine)
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Database(url, engine, reader)


def _ping_when_in_doubt(engine: sa.Engine) -> None:
    """Have the first query after a restart of the database, or a long pause, not fail.

    Asking before every transaction, as `pool_pre_ping` does, is a round trip for each of them. But
    a server that goes away closes its connections, which is seen without asking it; and a network
    that forgets a connection does so after minutes without use.
    """

    @sa.event.listens_for(engine, "checkin")
    def remember(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        now = time.monotonic()
        unused = now - record.info.get("used_at", now)
        if unused < TRUSTED_SECONDS and not _has_news(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except connection.Error as error:
            raise sa.exc.InvalidatePoolError from error


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something that nobody asked for, or has hung up."""
    if connection.closed:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return bool(selector.select(timeout=0))


def _dump_document(document: Any) -> str:
    try:
        return json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NotStorableError(f"the document is no JSON: {error}") from error
