"""Backup while the service works, and restore: as the README says, on both databases."""

import sqlite3
import subprocess
import threading

import pytest

from lrtuner.store import doctor, migrate, open_database, queue
from tests.conftest import Store
from tests.test_migrations import everything, populate


def run_beside(server, tool, *arguments):
    """Run a tool that came with the server, as it has to be of its version."""
    subprocess.run([server.bin_path / tool, *arguments], check=True)


@pytest.fixture
def back_up_and_restore(request, database_url, tmp_path):
    """Make a copy of the database, and open what the copy restores to."""
    opened = []

    def sqlite():
        file = database_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(file)
        connection.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
        connection.close()
        return f"sqlite:///{tmp_path / 'backup.db'}"

    def postgresql():
        server = request.getfixturevalue("postgres_server")
        dump, name = tmp_path / "lrtuner.dump", f"restored_{tmp_path.name}".replace("-", "_")
        restored = server.get_uri(database=name)
        run_beside(server, "pg_dump", "-Fc", "-f", dump, database_url)
        server.psql(f'CREATE DATABASE "{name}"')
        run_beside(server, "pg_restore", "-d", restored, dump)
        return restored

    def call():
        url = sqlite() if database_url.startswith("sqlite") else postgresql()
        opened.append(open_database(url))
        return url, Store(opened[-1])

    yield call
    for database in opened:
        database.close()


def test_everything_is_there_again(store, back_up_and_restore, monkeypatch):
    finished, waiting = populate(store), store.enqueue(name="waits")
    before = everything(store, finished)
    url, restored = back_up_and_restore()
    migrate.check(url)
    monkeypatch.setenv("LRTUNER_DATABASE_URL", url)
    assert {item.state for item in doctor.diagnose()} == {"ok"}
    assert everything(restored, finished) == before
    assert restored.claim().job_id == waiting


def test_a_running_job_goes_on_where_the_copy_was_made(store, back_up_and_restore):
    job_id = store.enqueue()
    first = store.claim()
    store.do(queue.start_trial, first, number=0, phase="search", document={})
    _, restored = back_up_and_restore()
    restored.expire_lease(job_id)
    second = restored.claim()
    assert (second.job_id, second.attempt, second.rescued) == (job_id, first.attempt + 1, True)
    restored.do(queue.succeed, second, recommendation="{}")
    assert restored.job(job_id).status == "succeeded"


def test_a_copy_that_is_made_while_jobs_arrive_is_one_moment(store, back_up_and_restore):
    stop, written = threading.Event(), []

    def submit():
        while not stop.is_set():
            written.append(store.enqueue(metadata={"n": str(len(written))}))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        while len(written) < 5:
            pass
        _, restored = back_up_and_restore()
    finally:
        stop.set()
        thread.join()
    kept = [job_id for job_id in written if is_there(restored, job_id)]
    assert kept == written[: len(kept)]
    assert len(kept) >= 5


def is_there(store, job_id):
    """A job is all there, or not at all."""
    try:
        job = store.job(job_id)
    except LookupError:
        return False
    assert len(job.metadata) == 1
    assert store.kinds(job_id) == ["job.queued"]
    return True
