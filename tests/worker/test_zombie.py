"""A worker that stands still while its job is taken over, as a whole process, on both databases."""

import os
import signal
import sqlite3

import pytest
import sqlalchemy as sa

from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue
from lrtuner.store.tables import metadata
from tests.conftest import POSTGRESQL_IS_SLOW
from tests.worker.test_loop import (
    LONG,
    children_of,
    events_of,
    expire_lease,
    is_alive,
    job_of,
    submit,
    until,
    worker_process,
)

#: Some tenths of a second of sweeps, and so little to say that all of it fits into the pipe.
SWEEPS = {
    **LONG,
    "model": {"name": "mlp", "args": {"hidden": [512, 512]}},
    "search": {"mode": "range_test", "budget": {"full_runs": 40}},
    "range_test": {"num_steps": 60, "num_seeds": 3, "probes": []},
}

WITHOUT_FENCE = """
import sys
from lrtuner.store import transitions
from lrtuner.store.tables import jobs
from worker.__main__ import main
transitions._held = lambda claim: [jobs.c.id == claim.job_id]
sys.exit(main())
"""


def rows_of(database, job_id):
    """Every row of the job, in every table; without when its lease ends."""

    def of(connection, table):
        key = table.c.id if table.name == "jobs" else table.c.job_id
        columns = [column for column in table.c if column.name != "lease_expires_at"]
        return connection.execute(sa.select(*columns).where(key == job_id)).all()

    tables = [t for t in metadata.sorted_tables if t.name == "jobs" or "job_id" in t.c]
    with database.reading() as connection:
        return {table.name: of(connection, table) for table in tables}


def stop_between_writes(database, pid):
    """Not within a transaction, whose lock would keep others out as long as it stands still."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        if not is_locked(database):
            return
        os.kill(pid, signal.SIGCONT)


def is_locked(database):
    if database.url.get_backend_name() == "sqlite":
        other = sqlite3.connect(database.url.database, timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError:
            return True
        finally:
            other.close()
        return False
    held = sa.text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    with database.reading() as connection:
        return connection.scalar(held) > 0


@POSTGRESQL_IS_SLOW
@pytest.mark.parametrize(
    "fence",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["fenced", "without the fence"],
)
def test_a_worker_that_stood_still_stores_nothing_and_goes_on(database, database_url, fence):
    job_id = submit(database, **SWEEPS)
    start = () if fence else ("-c", WITHOUT_FENCE)
    with worker_process(database_url, *start) as zombie:
        until(lambda: "environment" in [event.kind for event in events_of(database, job_id)])
        stop_between_writes(database, zombie.pid)
        [child] = children_of(zombie.pid)
        until(lambda: not is_alive(child))  # it has said all that it had to say
        assert job_of(database, job_id).status is JobStatus.RUNNING
        expire_lease(database, job_id)
        with database.writing() as connection:
            assert queue.claim(connection, owner="other", lease_seconds=600).attempt == 2
        following = submit(database, **SWEEPS)
        left = rows_of(database, job_id)
        os.kill(zombie.pid, signal.SIGCONT)
        until(lambda: job_of(database, following).status is not JobStatus.QUEUED)
    changed = {name for name, rows in rows_of(database, job_id).items() if rows != left[name]}
    if fence:
        assert changed == set()
        return
    # the control: what a dead attempt says is published under the eyes of its successor
    assert changed == {"jobs", "events", "stages", "recommendations"}
    [published] = rows_of(database, job_id)["recommendations"]
    assert (published.attempt, job_of(database, job_id).attempts) == (1, 2)
