"""Opening databases, and what transactions on them promise."""

import sqlite3
import time
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy as sa

from lrtuner.errors import DatabaseDownError, InvalidInputError, UnsupportedError
from lrtuner.store import engine, open_database, queue, reading
from lrtuner.store.engine import IDLE_TRANSACTION_SECONDS
from lrtuner.store.tables import jobs


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "sqlite+aiosqlite:///x.db", "postgresql+asyncpg://u:secret@h/d"]
)
def test_other_databases_are_refused_by_name(url):
    with pytest.raises(UnsupportedError, match=url.split(":")[0].replace("+", r"\+")) as refused:
        open_database(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true"])
def test_sqlite_must_be_a_file(url):
    with pytest.raises(UnsupportedError, match="plain file"):
        open_database(url)


@pytest.mark.parametrize(
    "url", ["", "x", "postgresql//u:secret@h", "postgresql://u:secret@h:port/d"]
)
def test_what_is_no_url_is_refused_and_not_repeated(url):
    with pytest.raises(InvalidInputError, match="sqlite:///path") as refused:
        open_database(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_means_psycopg(scheme):
    database = open_database(f"{scheme}://u:secret@h/d")
    assert str(database) == "postgresql+psycopg://u:***@h/d"
    assert "secret" not in repr(database)


def test_options_of_an_address_are_not_shown():
    database = open_database("postgresql://u@h/d?password=secret&sslmode=require")
    assert str(database) == "postgresql+psycopg://u@h/d"


def test_the_folder_of_a_sqlite_file_is_created(tmp_path):
    path = tmp_path / "a b" / "c%d" / "x.db"
    database = open_database(f"sqlite:///{path}")
    with database.writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert path.exists()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_new_sqlite_file_that_another_process_just_writes(tmp_path, monkeypatch):
    """Changing the journal fails at once where every other statement waits for the lock."""
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = []
    monkeypatch.setattr("time.sleep", lambda _: (waits.append(1), other.execute("COMMIT")))
    database = open_database(f"sqlite:///{path}")
    with database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert waits == [1]
    database.close()
    other.close()


def count(connection):
    return connection.scalar(sa.select(sa.func.count()).select_from(jobs))


def test_readers_do_not_stop_writers_and_see_one_moment(database, store):
    with database.reading() as reader:
        assert count(reader) == 0
        store.enqueue()  # would wait for the lock and fail if the reader held one
        assert count(reader) == 0
    assert store.read(count) == 1


def test_writers_do_not_stop_readers(database, store):
    with database.writing() as writer:
        queue.enqueue(writer, spec={}, name=None, metadata={})
        assert store.read(count) == 0
    assert store.read(count) == 1


def test_readers_cannot_write(store):
    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        store.read(queue.enqueue, spec={}, name=None, metadata={})
    store.enqueue()  # a pooled connection does not stay read-only
    assert store.read(count) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_sqlite_writer_holds_the_lock_from_its_first_moment(database):
    with database.writing():
        other = sqlite3.connect(database.url.database, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_what_belongs_to_a_job_goes_with_it(store):
    job_id = store.enqueue(metadata={"k": "v"})
    store.do(lambda connection: connection.execute(jobs.delete().where(jobs.c.id == job_id)))
    assert store.events(job_id) == []
    assert store.read(reading.list_jobs, metadata={"k": "v"}, limit=1).items == []


def test_a_number_of_arrival_is_never_used_twice(store):
    for _ in range(2):
        store.enqueue()
        store.do(lambda connection: connection.execute(jobs.delete()))
    store.enqueue()
    assert store.read(lambda connection: connection.scalar(sa.select(jobs.c.seq))) == 3


def pid(connection):
    return connection.scalar(sa.text("SELECT pg_backend_pid()"))


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_first_query_after_a_lost_connection_works(store, postgres_server, monkeypatch, seen):
    lost = store.do(pid)
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [lost])
    if not seen:  # as if a network had forgotten the connection without telling
        monkeypatch.setattr(engine, "_has_news", lambda _connection: False)
        monkeypatch.setattr(engine, "TRUSTED_SECONDS", 0)
    assert store.do(pid) != lost


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_in_use_is_not_asked_whether_it_is_there(store, monkeypatch):
    used = store.do(pid)
    monkeypatch.setattr(store.database._writer.dialect, "do_ping", None)
    assert store.do(pid) == used


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1:1/d", "sqlite:////proc"])
def test_a_database_that_is_away(url):
    database = open_database(url)
    for transaction in (database.reading(), database.writing()):
        with pytest.raises(DatabaseDownError, match="does not answer"), transaction:
            pass


def test_a_mistake_is_no_outage(store):
    with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
        store.do(lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere"))


def test_a_database_without_free_connections(database):
    database._reader.pool._timeout = 0.01

    def take_all():
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(database.reading())

    with pytest.raises(DatabaseDownError, match="QueuePool"):
        take_all()


def test_a_connection_that_is_at_work_while_the_database_closes(database):
    with database.reading() as connection:
        raw = connection.connection.dbapi_connection
        database.close()
        assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 0
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        raw.execute("SELECT 1")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_lost_in_a_transaction(store, postgres_server):
    def cut_off(connection):
        queue.enqueue(connection, spec={}, name=None, metadata={})
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with psycopg.connect(postgres_server.get_uri(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with pytest.raises(DatabaseDownError):
        store.do(cut_off)  # it fails in the commit
    with pytest.raises(DatabaseDownError):
        store.do(lambda connection: (cut_off(connection), count(connection)))
    assert store.read(count) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_stalled_transaction_is_ended_by_postgresql(store):
    setting = "idle_in_transaction_session_timeout"
    shown = store.do(lambda connection: connection.scalar(sa.text(f"SHOW {setting}")))
    assert shown == f"{IDLE_TRANSACTION_SECONDS}s"

    def stall(connection):
        connection.execute(sa.text(f"SET LOCAL {setting} = '1ms'"))
        deadline = time.monotonic() + 20
        while store.read(sessions) > 1:  # this one and the reader's
            assert time.monotonic() < deadline
        count(connection)

    with pytest.raises(DatabaseDownError):
        store.do(stall)
    store.enqueue()


def sessions(connection):
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    return connection.scalar(sa.text(query))


def test_a_claim_walks_the_active_jobs_in_order(database, store):
    """However many finished jobs there are, and without sorting those that wait."""
    seen = []
    sa.event.listen(database._writer, "before_cursor_execute", lambda *args: seen.append(args[2:4]))
    store.claim()
    explain = "EXPLAIN QUERY PLAN"
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            explain = "EXPLAIN"
            # So small a table it would rather read and sort as a whole.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_sort = off")
        statement, parameters = next(call for call in seen if "FROM jobs" in call[0])
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
    assert "ix_jobs_priority_turn_seq" in plan
    assert "SORT" not in plan.upper()
    assert "B-TREE FOR ORDER BY" not in plan  # of few rows, the running jobs by key
