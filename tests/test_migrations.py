"""The migrations: up, down, repeated, all at once, and equal to the tables that the code uses."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError

from lrtuner.lifecycle import Stage
from lrtuner.store import migrate, open_database, queue, reading
from lrtuner.store.tables import metadata

HEAD = "0007"


def tables(url):
    database = open_database(url)
    with database.reading() as connection:
        names = set(sa.inspect(connection).get_table_names())
    database.close()
    return names - {migrate.VERSION_TABLE}


def test_up_and_down_and_up(empty_database_url):
    assert migrate.upgrade(empty_database_url) == (None, HEAD)
    assert tables(empty_database_url) == set(metadata.tables)
    assert migrate.upgrade(empty_database_url) == (HEAD, HEAD)
    assert migrate.downgrade(empty_database_url, "base") == (HEAD, None)
    assert tables(empty_database_url) == set()
    assert migrate.upgrade(empty_database_url) == (None, HEAD)


def test_the_migrated_database_is_what_the_code_expects(database_url):
    migrate.check(database_url)


def test_a_difference_would_be_found(database_url):
    """The control of the test above."""
    with migrate.exclusively(database_url) as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN owner")
    with pytest.raises(CommandError, match="owner"):
        migrate.check(database_url)


def test_a_database_knows_whether_it_is_current(empty_database_url):
    database = open_database(empty_database_url)
    assert not migrate.is_current(database)
    migrate.upgrade(empty_database_url)
    assert migrate.is_current(database)
    with database.writing() as connection:
        connection.execute(sa.text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = 'newer'"))
    assert not migrate.is_current(database)
    database.close()


def populate(store):
    job_id = store.enqueue(name="n", metadata={"k": "v"})
    claim = store.claim()
    store.do(queue.start_trial, claim, number=0, phase="search", document={})
    store.do(queue.finish_stage, claim, stage=Stage.SEARCH, result={})
    store.do(queue.succeed, claim, recommendation="{}")
    return job_id


def everything(store, job_id):
    return (
        store.job(job_id),
        store.events(job_id),
        store.read(reading.list_trials, job_id, after=-1, limit=10),
        store.read(reading.list_stages, job_id),
        store.read(reading.get_recommendation, job_id),
    )


def test_an_upgrade_keeps_what_is_there(store, database_url):
    job_id = populate(store)
    before = everything(store, job_id)
    migrate.upgrade(database_url)
    assert everything(store, job_id) == before


def test_rebuilding_a_table_keeps_its_children(store, database_url):
    """SQLite changes a column by dropping the table, which must not cascade."""
    job_id = populate(store)
    before = everything(store, job_id)
    with migrate.exclusively(database_url) as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("jobs") as batch:
            batch.alter_column("name", existing_type=sa.Text(), nullable=False)
    assert everything(store, job_id) == before
    store.enqueue(name="still works")


def test_a_failed_migration_changes_nothing(empty_database_url):
    def break_off():
        with migrate.exclusively(empty_database_url) as connection:
            metadata.create_all(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert tables(empty_database_url) == set()


def test_a_second_migration_waits_for_the_first(empty_database_url):
    with ThreadPoolExecutor(1) as pool:
        with migrate.exclusively(empty_database_url) as connection:
            second = pool.submit(migrate.upgrade, empty_database_url)
            if connection.dialect.name == "postgresql":  # on SQLite waiting leaves no trace
                query = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                while not connection.scalar(query):
                    assert not second.done()
            connection.execute(sa.text("CREATE TABLE first (x INTEGER)"))
        assert second.result(timeout=60) == (None, HEAD)
    assert tables(empty_database_url) == {"first", *metadata.tables}


MIGRATOR = """
import sys
from lrtuner.store import migrate
print("ready", flush=True)
sys.stdin.readline()
print(migrate.upgrade(sys.argv[1]))
"""


def test_processes_that_migrate_at_once_take_turns(empty_database_url, pytestconfig):
    command = [sys.executable, "-c", MIGRATOR, empty_database_url]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, cwd=pytestconfig.rootpath, text=True, **pipes)
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in processes]
    expected = [f"{(HEAD, HEAD)}\n", f"{(None, HEAD)}\n"]
    assert sorted(output for output, _ in results) == expected, results
    migrate.check(empty_database_url)


def test_the_command_says_what_it_did(empty_database_url, capsys, monkeypatch):
    assert migrate.main(["--url", empty_database_url]) == 0
    assert capsys.readouterr().out.endswith(f" migrated: empty -> {HEAD}\n")
    monkeypatch.setenv("LRTUNER_DATABASE_URL", empty_database_url)
    assert migrate.main([]) == 0
    assert capsys.readouterr().out.endswith(f" is at {HEAD} already\n")


def test_the_command_refuses_what_it_does_not_know(capsys):
    assert migrate.main(["--url", "mysql://u:secret@h/d"]) == 2
    error = capsys.readouterr().err
    assert "mysql" in error
    assert "secret" not in error
