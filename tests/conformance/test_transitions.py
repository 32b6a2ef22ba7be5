"""What the database itself refuses, whoever writes: raw SQL past every verb, on every database."""

import importlib

import pytest
import sqlalchemy as sa

from lrtuner.lifecycle import TRANSITIONS, JobStatus
from lrtuner.store import migrate, queue, reading
from lrtuner.store.tables import jobs, recommendations

_TABLES = {
    "jobs_change_as_allowed": "jobs",
    "attempts_only_grow": "jobs",
    "recommendations_stay": "recommendations",
}


def without_triggers(connection):
    """Take them away."""
    on = " ON {}" if connection.dialect.name == "postgresql" else ""
    for name, table in _TABLES.items():
        connection.exec_driver_sql(f"DROP TRIGGER {name}{on.format(table)}")


ALLOWED = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}


def test_the_frozen_list_of_the_migration_is_that_of_the_code():
    """When this fails, write a migration that replaces the trigger; the old one stays as it is."""
    migration = importlib.import_module("migrations.versions.0006_transitions")
    assert sorted(migration.TRANSITIONS) == sorted(f"{a} -> {b}" for a, b in ALLOWED)


def put(store, job_id, **values):
    """Change the row, and nothing else in any place."""
    store.do(lambda c: c.execute(jobs.update().where(jobs.c.id == job_id).values(values)))


def job_with(store, status):
    """A job that was inserted with this status: as long as there is no row, all are possible."""
    job_id = store.enqueue()
    row = store.read(lambda c: c.execute(sa.select(jobs).where(jobs.c.id == job_id)).one())
    copy = {**row._mapping, "seq": row.seq + 1000, "id": f"job_{status}", "status": status}
    store.do(lambda c: c.execute(jobs.delete()))
    store.do(lambda c: c.execute(jobs.insert().values(copy)))
    return copy["id"]


@pytest.mark.parametrize("source", JobStatus)
def test_a_status_changes_only_as_allowed(store, source):
    for target in JobStatus:
        job_id = job_with(store, source)
        if target is source or (source, target) in ALLOWED:
            put(store, job_id, status=target)
            assert store.job(job_id).status is target
        else:
            with pytest.raises(sa.exc.IntegrityError, match="cannot change from this status"):
                put(store, job_id, status=target)
            assert store.job(job_id).status is source


@pytest.mark.parametrize("source", JobStatus)
def test_no_status_becomes_one_that_nobody_knows(store, source):
    job_id = job_with(store, source)
    for unknown in ("", "done", "Queued"):
        with pytest.raises(sa.exc.IntegrityError):
            put(store, job_id, status=unknown)


def test_the_fencing_token_never_shrinks(store):
    job_id = store.enqueue()
    store.claim(lease_seconds=-1)
    store.claim()
    for less in (1, 0, -1):
        with pytest.raises(sa.exc.IntegrityError, match="never shrinks"):
            put(store, job_id, attempt=less)
    put(store, job_id, attempt=2)
    put(store, job_id, attempt=7)
    assert store.job(job_id).attempts == 7


def test_all_else_of_a_finished_job_may_change(store):
    """Retention marks what it pruned."""
    job_id, _ = store.job_in(JobStatus.SUCCEEDED)
    put(store, job_id, pruned_at=1.0, name="other")
    assert store.job(job_id).pruned_at == 1.0


def test_a_published_recommendation_never_changes(store):
    job_id, _ = store.job_in(JobStatus.SUCCEEDED)
    for values in ({"document": "{} "}, {"attempt": 9}, {"published_at": 0.0}):
        with pytest.raises(sa.exc.IntegrityError, match="never changes"):
            store.do(lambda c, values=values: c.execute(recommendations.update().values(values)))
    assert store.read(reading.get_recommendation, job_id) == "{}"


def test_a_refused_change_takes_its_whole_transaction_back(store):
    job_id, _ = store.job_in(JobStatus.SUCCEEDED)

    def write(connection):
        queue.enqueue(connection, spec={}, name=None, metadata={})
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(status="running"))

    with pytest.raises(sa.exc.IntegrityError):
        store.do(write)
    assert [job.id for job in store.read(reading.list_jobs, limit=9).items] == [job_id]


def test_without_the_triggers_all_of_this_would_be_possible(store):
    """The control: nothing else stands in the way."""
    job_id, _ = store.job_in(JobStatus.SUCCEEDED)
    store.do(without_triggers)
    for target in JobStatus:
        put(store, job_id, status=target, attempt=0)
        assert store.job(job_id).status is target
    store.do(lambda c: c.execute(recommendations.update().values(document="[]")))


def triggers(store):
    """The names of what is there."""
    kinds = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }
    query = sa.text(kinds[store.database.url.get_backend_name()])
    return set(store.read(lambda c: c.execute(query).scalars().all()))


def test_migrations_that_rebuild_tables_keep_the_triggers(store, database_url):
    """On SQLite they go with the old table, unless the migration creates them again."""
    wanted = {"jobs_change_as_allowed", "attempts_only_grow", "recommendations_stay"}
    assert triggers(store) >= wanted
    migrate.downgrade(database_url, "0006")
    assert triggers(store) == wanted
    migrate.downgrade(database_url, "0005")
    assert triggers(store) == set()
    migrate.upgrade(database_url)
    assert triggers(store) >= wanted
