"""The migrations: up, down, repeated, all at once, and equal to the tables that the code uses."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store import level, migrate, open_database, queue, reading
from lrtuner.store.tables import metadata

HEAD = "0010"


def tables(url):
    database = open_database(url)
    with database.reading() as connection:
        names = set(sa.inspect(connection).get_table_names())
    database.close()
    return names - {level.VERSION_TABLE}


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


def test_a_database_knows_whether_it_is_migrated(empty_database_url):
    database = open_database(empty_database_url)
    assert not level.is_migrated(database)
    migrate.upgrade(empty_database_url)
    assert level.level_of(database) == ("current", HEAD)
    assert level.is_migrated(database)
    database.close()


@pytest.mark.parametrize(
    ("revision", "expected", "usable"),
    [("0001", "older", False), ("9999", "newer", True), ("cafe01", "foreign", False)],
)
def test_a_later_schema_is_good_enough(empty_database_url, revision, expected, usable):
    migrate.upgrade(empty_database_url)
    database = open_database(empty_database_url)
    with database.writing() as connection:
        stamp(connection, revision)
    assert level.level_of(database) == (expected, revision)
    assert level.is_migrated(database) is usable
    database.close()


def test_the_names_of_the_files_tell_the_revisions():
    scripts = ScriptDirectory.from_config(migrate._config()).walk_revisions()
    assert [script.revision for script in scripts] == level.revisions()


def stamp(connection, revision):
    connection.execute(sa.text(f"UPDATE {level.VERSION_TABLE} SET version_num = '{revision}'"))


def test_the_database_of_a_later_version_is_left_alone(database, database_url, capsys):
    """Going back to the version before starts with its `lrtuner migrate`."""
    with database.writing() as connection:
        stamp(connection, "9999")
    assert migrate.upgrade(database_url) == ("9999", "9999")
    assert migrate.main(["--url", database_url]) == 0
    assert "is at 9999 already, that of a later version" in capsys.readouterr().out
    with database.writing() as connection:
        stamp(connection, "cafe01")
    assert migrate.main(["--url", database_url]) == 2
    assert "'cafe01' is of no version of lrtuner" in capsys.readouterr().err


def columns(connection):
    """Every column by its table and name: its type, and whether a writer may leave it out."""
    inspector = sa.inspect(connection)
    return {
        (table, column["name"]): (
            str(column["type"]),
            column["nullable"] or column["default"] is not None,
        )
        for table in inspector.get_table_names()
        for column in inspector.get_columns(table)
    }


REVISIONS = [f"{number:04}" for number in range(1, int(HEAD) + 1)]


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_every_migration_only_adds(empty_database_url, revision):
    """So the version before goes on meanwhile: nothing that it names is gone or other."""
    migrate.upgrade(empty_database_url, f"{int(revision) - 1:04}")
    database = open_database(empty_database_url)
    with database.reading() as connection:
        before = columns(connection)
    migrate.upgrade(empty_database_url, revision)
    with database.reading() as connection:
        after = columns(connection)
    database.close()
    assert {name: after.get(name) for name in before} == before
    old_tables = {table for table, _ in before}
    added = {name: optional for name, (_, optional) in after.items() if name not in before}
    assert all(optional for (table, _), optional in added.items() if table in old_tables), added


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_what_an_earlier_version_writes_is_taken(empty_database_url, revision):
    """Its statements, on the newest schema: every column that it knew, and no other."""
    migrate.upgrade(empty_database_url, revision)
    database = open_database(empty_database_url)
    old = sa.MetaData()
    with database.reading() as connection:
        old.reflect(connection, only=["jobs", "events", "trials"])
    migrate.upgrade(empty_database_url)
    jobs, events, trials = (old.tables[name] for name in ("jobs", "events", "trials"))
    required = {"priority": 0, "attempt": 0, "max_attempts": 3, "not_before": 0.0, "event_seq": 0}
    with database.writing() as connection:
        connection.execute(
            jobs.insert().values(id="job_old", status="queued", spec={}, queued_at=1.0, **required)
        )
        mine = jobs.c.id == "job_old"
        connection.execute(
            jobs.update().where(mine).values(status="running", attempt=1, owner="w", started_at=2.0)
        )
        told = {"kind": "k", "message": "m", "data": {}, "at": 1.0}
        connection.execute(events.insert().values(job_id="job_old", seq=1, **told))
        run = {"phase": "search", "state": "running", "document": {}, "started_at": 2.0}
        connection.execute(trials.insert().values(job_id="job_old", number=0, attempt=1, **run))
        connection.execute(jobs.update().where(mine).values(status="succeeded", succeeded_at=3.0))
    with database.reading() as connection:
        job = reading.get_job(connection, "job_old")
    database.close()
    assert (job.status, job.timestamps["succeeded_at"]) == ("succeeded", 3.0)


def test_a_worker_goes_on_while_the_next_version_migrates(store, database_url):
    """A migration of the future, as they are to be: a table, a column, an index."""
    job_id = store.enqueue()
    claim = store.claim()
    store.do(queue.start_trial, claim, number=0, phase="search", document={})
    with migrate.exclusively(database_url) as connection:
        operations = Operations(MigrationContext.configure(connection))
        operations.create_table("later", sa.Column("id", sa.Text(), primary_key=True))
        operations.add_column("jobs", sa.Column("later", sa.Text(), server_default="x"))
        operations.create_index("ix_jobs_later", "jobs", ["later"])
        stamp(connection, "9999")
    finished = {"state": TrialState.COMPLETE, "value": 0.5, "cost": 1.0, "document": {}}
    store.do(queue.heartbeat, claim, lease_seconds=60.0)
    store.do(queue.finish_trial, claim, number=0, **finished)
    store.do(queue.succeed, claim, recommendation="{}")
    assert store.job(job_id).status == "succeeded"
    assert store.claim() is None
    store.enqueue()
    assert store.claim()
    assert level.is_migrated(store.database)


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
