"""Whole jobs in two slots, whose processes get killed: nothing is lost and nothing lives on."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from lrtuner.lifecycle import JobStatus, TrialState
from lrtuner.store import queue
from tests.worker import test_loop
from tests.worker.test_loop import (
    ENDLESS,
    LONG,
    events_of,
    is_alive,
    job_of,
    recommendation_of,
    submit,
    trials_of,
    worker_of,
    worker_process,
    working,
)
from worker.process import Child

pytestmark = pytest.mark.slow

until = partial(test_loop.until, patience=300.0)
"""Three processes import torch one after another."""


def descendants(pid):
    """All processes below that one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children = [int(child) for child in task.read_text().split()]
            found += [*children, *(d for child in children for d in descendants(child))]
    return found


def slots_below(pid):
    """Those of them that are slots."""
    found = []
    for one in descendants(pid):
        with suppress(OSError):
            if b"worker.runners.inside" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


@pytest.fixture
def two_slots(monkeypatch):
    monkeypatch.setenv("LRTUNER_SLOTS", "2")


@pytest.fixture
def reference(database, database_url):
    """What one slot recommends, and its records."""
    job_id = submit(database, **LONG)
    worker_of(database, database_url, slots=1).work_once()
    return job_id


def same(database, job_id, reference):
    timeless = [
        [{k: v for k, v in t.document.items() if k != "seconds"} for t in trials_of(database, j)]
        for j in (job_id, reference)
    ]
    assert timeless[0] == timeless[1]
    return recommendation_of(database, job_id) == recommendation_of(database, reference)


@pytest.mark.usefixtures("two_slots")
def test_no_slot_trains_on_after_kill_9_of_the_worker(database, database_url):
    job_id = submit(database, **ENDLESS)
    with worker_process(database_url) as process:
        until(lambda: trials_of(database, job_id))
        slots, everything = slots_below(process.pid), descendants(process.pid)
        assert slots
        process.kill()
        process.wait()
        until(lambda: not any(map(is_alive, everything)), patience=10)


@pytest.mark.parametrize("whom", ["a slot", "the job's process"])
def test_a_kill_during_the_job_changes_nothing(database, database_url, reference, whom):
    children = []

    def start(order):
        children.append(Child(order))
        return children[-1]

    worker = worker_of(database, database_url, slots=2)
    worker.start_child = start
    job_id = submit(database, **LONG)
    with working(worker):
        until(lambda: any(not t.state.is_finished for t in trials_of(database, job_id)))
        slots = slots_below(children[0].pid)
        os.kill(slots[0] if whom == "a slot" else children[0].pid, signal.SIGKILL)
        until(lambda: job_of(database, job_id).status.is_finished)
    assert job_of(database, job_id).status is JobStatus.SUCCEEDED
    assert not any(map(is_alive, slots))
    assert {t.state for t in trials_of(database, job_id)} == {TrialState.COMPLETE}
    restarted = "process.restarted" in [e.kind for e in events_of(database, job_id)]
    assert (restarted, len(children)) == ((False, 1) if whom == "a slot" else (True, 2))
    assert same(database, job_id, reference)


def test_a_cancel_ends_the_slots(database, database_url):
    children = []

    def start(order):
        children.append(Child(order))
        return children[-1]

    worker = worker_of(database, database_url, slots=2)
    worker.start_child = start
    job_id = submit(database, **ENDLESS)
    with working(worker):
        until(lambda: trials_of(database, job_id))
        slots = slots_below(children[0].pid)
        assert slots
        with database.writing() as connection:
            queue.cancel(connection, job_id)
        until(lambda: not any(map(is_alive, slots)), patience=10)
        until(lambda: job_of(database, job_id).status is JobStatus.CANCELLED, patience=10)
