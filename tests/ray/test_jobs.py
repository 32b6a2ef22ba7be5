"""Whole jobs through a worker whose runs are trained on a cluster."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from lrtuner.lifecycle import JobStatus
from lrtuner.store import open_database, queue, reading
from tests.conftest import Store
from tests.ray_cluster import ROOT, processes, wait_until
from tests.worker.conftest import ListJournal, pipeline_of, spec_of
from worker.loop import Worker
from worker.process import Child
from worker.settings import Settings

pytest.importorskip("ray", reason="needs Ray: make test-ray")

pytestmark = pytest.mark.ray

SHORT = {
    "search": {
        "families": ["polynomial", "constant"],
        "budget": {"full_runs": 12},
        "confirm_pairs": 2,
    }
}
ENDLESS = {"training": {"batch_size": 16, "steps": 3_000_000}, "range_test": {"probes": []}}


@pytest.fixture
def database_url(_sqlite_template, tmp_path):
    path = tmp_path / "lrtuner.db"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def worker(database_url, tmp_path, monkeypatch, request):
    """A worker on the cluster, or on another address that the test is marked with."""
    address = getattr(request, "param", None) or request.getfixturevalue("ray_cluster").address
    for name, text in {
        "RUNNER": "ray",
        "RAY_ADDRESS": address,
        "SLOTS": "auto",
        "DATABASE_URL": database_url,
        "DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"LRTUNER_{name}", text)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    database = open_database(database_url)
    yield Worker(database, Settings(), threading.Event())
    database.close()


@pytest.fixture
def store(worker):
    return Store(worker.database)


def submitted(store, **changes):
    return store.enqueue(spec=spec_of(**changes).model_dump(mode="json"))


def told(document):
    """Its text without the id of the job and the time."""
    same = document.provenance.model_copy(update={"job_id": "job", "created_at": "then"})
    return document.model_copy(update={"provenance": same}).text()


def test_a_job_ends_as_it_does_on_one_machine(worker, store):
    job_id = submitted(store, **SHORT)
    assert worker.work_once()
    job = store.job(job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    journal = ListJournal()
    here = pipeline_of(spec_of(**SHORT), journal, job_id=job_id).run()
    found = type(here).model_validate_json(store.read(reading.get_recommendation, job_id))
    assert told(found) == told(here)
    [environment] = [e for e in store.events(job_id) if e.kind == "environment"]
    assert environment.message.endswith(", on a cluster, up to 2 runs at a time")


def test_a_cancel_leaves_nothing_on_the_nodes(worker, store):
    job_id = submitted(store, **ENDLESS)
    with working(worker):
        wait_until(lambda: processes(b"ray::told"), "a run is trained", seconds=120)
        store.do(queue.cancel, job_id)
        wait_until(lambda: store.job(job_id).status is JobStatus.CANCELLED, "it is cancelled")
        wait_until(lambda: not processes(b"ray::told"), "nothing trains")


def test_a_driver_that_is_killed_leaves_nothing_on_the_nodes(worker, store):
    started = []

    def start(order):
        started.append(Child(order))
        return started[-1]

    worker.start_child = start
    submitted(store, **ENDLESS)
    with working(worker):
        wait_until(lambda: processes(b"ray::told"), "a run is trained", seconds=120)
        before = set(processes(b"ray::told"))
        os.kill(started[0].pid, signal.SIGKILL)
        wait_until(lambda: not before & set(processes()), "its processes are gone")


@contextmanager
def working(worker):
    """Within it the worker is at work on one job, in a thread."""
    thread = threading.Thread(target=worker.work_once)
    thread.start()
    try:
        yield
    finally:
        worker.stop.set()
        thread.join()


@pytest.mark.parametrize("worker", ["127.0.0.1:1"], indirect=True)
def test_without_its_cluster_a_worker_hands_the_job_back_uncharged(worker, store):
    job_id = store.enqueue(spec=spec_of().model_dump(mode="json"), max_attempts=1)
    assert worker.work_once()
    assert worker.runner_lost
    job = store.job(job_id)
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.QUEUED, 1, 2)
    assert "nothing answers at LRTUNER_RAY_ADDRESS" in store.events(job_id)[-1].message
    worker._find_runner()
    assert worker.runner_lost, "and claims none before it is there"


@pytest.mark.parametrize("worker", ["127.0.0.1:1"], indirect=True)
def test_a_worker_does_not_start_without_authentication(worker, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE")
    found = subprocess.run(
        [sys.executable, "-m", "worker"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert found.stderr.startswith("RAY_AUTH_MODE is not set, and whoever reaches")
