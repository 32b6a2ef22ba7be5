"""The database goes away, or its disk is full, in the middle of a job."""

import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.faults.databases import postgresql
from lrtuner.lifecycle import JobStatus
from lrtuner.store import migrate, open_database, queue, reading
from tests.service.conftest import started
from tests.worker.test_loop import (
    LONG,
    events_of,
    job_of,
    recommendation_of,
    submit,
    trials_of,
    until,
    worker_of,
    working,
)

pytestmark = pytest.mark.slow


@contextmanager
def opened(url):
    migrate.upgrade(url)
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


def finished_trials(database, job_id):
    return sum(trial.state.is_finished for trial in trials_of(database, job_id))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the job recommends where nothing happens."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'lrtuner.db'}"
    with opened(url) as database:
        job_id = submit(database, **LONG)
        assert worker_of(database, url).work_once()
        return recommendation_of(database, job_id)


def check_ended_right(database, job_id, undisturbed, attempts):
    """As if nothing had happened: each run once, and the same answer."""
    until(lambda: job_of(database, job_id).status.is_finished)
    job = job_of(database, job_id)
    assert (job.status, job.attempts, job.error) == (JobStatus.SUCCEEDED, attempts, None)
    told = [e.data["number"] for e in events_of(database, job_id) if e.kind == "trial.finished"]
    assert sorted(told) == [trial.number for trial in trials_of(database, job_id)]
    assert recommendation_of(database, job_id) == undisturbed


def test_postgresql_is_restarted_again_and_again_during_a_job(undisturbed):
    with postgresql() as server, opened(server.url) as database:
        worker = worker_of(database, server.url)
        job_id = submit(database, **LONG)
        with started(database_url=server.url) as api, working(worker):
            for done in range(3):
                until(lambda done=done: finished_trials(database, job_id) > done)
                server.crash()
                answer = api.submit()
                assert (answer.status_code, answer.json()["code"]) == (503, "database_down")
                assert api.get(f"/v1/jobs/{job_id}").status_code == 503
                server.start()
                assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
            check_ended_right(database, job_id, undisturbed, attempts=1)


# --- a full disk --------------------------------------------------------------------------------


class SmallFile:
    """SQLite may not make its file any larger: what it says is what it says of a full disk."""

    def __init__(self, folder):
        self.url = f"sqlite:///{folder / 'lrtuner.db'}"
        self.is_full = False

    def watch(self, database):
        @sa.event.listens_for(database._writer, "begin")
        def limit(connection):
            pages = 1 if self.is_full else 2**30  # it is never less than there are
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill(self):
        self.is_full = True

    def make_room(self):
        self.is_full = False


class SmallDisk:
    """A disk in memory of a few megabytes, and a file that takes what is left."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'lrtuner.db'}"

    def watch(self, database):
        pass

    def fill(self):
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (2**16, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def make_room(self):
        (self.folder / "filler").unlink()


@contextmanager
def mounted(size):
    with tempfile.TemporaryDirectory(prefix="lrt-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small disk needs the right to mount one: {error}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def small_room(kind, folder):
    """Room for a database that can be taken away."""
    if kind == "file":
        yield SmallFile(folder)
        return
    if kind == "disk":
        with mounted("8m") as disk:
            yield SmallDisk(disk)
        return
    with mounted("128m") as disk, postgresql(disk) as server:
        yield SmallDisk(disk, server.url)


@pytest.mark.parametrize(
    ("kind", "lease"),
    [("file", 30.0), ("disk", 2.0), ("disk of a server", 30.0)],
    ids=["a moment", "longer than the lease", "postgresql"],
)
def test_the_disk_is_full_for_a_while_during_a_job(tmp_path, undisturbed, kind, lease):
    with small_room(kind, tmp_path) as small, opened(small.url) as database:
        small.watch(database)
        worker = worker_of(database, small.url, lease_seconds=lease)
        job_id = submit(database, **LONG)
        with started(database_url=small.url) as api, working(worker):
            small.watch(api.app.state.storage.database)
            until(lambda: finished_trials(database, job_id))
            small.fill()
            until(lambda: api.submit().status_code == 503)  # once the file has no gaps left
            before = events_of(database, job_id)
            refused = api.submit()
            assert (refused.status_code, refused.json()["code"]) == (503, "database_full")
            shown = api.get(f"/v1/jobs/{job_id}")
            assert (shown.status_code, shown.json()["status"]) == (200, "running")
            assert api.get(f"/v1/jobs/{job_id}/recommendation").status_code == 409
            if kind == "disk":
                read = worker.meters.registry.get_sample_value
                outcome = {"outcome": "lease lost, dropped"}
                until(lambda: read("lrtuner_worker_attempts_total", outcome))
            small.make_room()
            assert api.submit().status_code == 202
            leave_alone(database, job_id)
            check_ended_right(database, job_id, undisturbed, attempts=2 if kind == "disk" else 1)
            assert events_of(database, job_id)[: len(before)] == before


def leave_alone(database, job_id):
    """Cancel the jobs that were submitted beside it."""
    with database.writing() as connection:
        for job in reading.list_jobs(connection, limit=1000).items:
            if job.id != job_id:
                queue.cancel(connection, job.id)
