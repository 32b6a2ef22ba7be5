"""Whole jobs through the queue, on both databases, with real processes that get killed."""

import json
import os
import queue as queues
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

import lrtuner
from lrtuner.errors import DatabaseDownError
from lrtuner.job import JobSpec
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import Database, queue, reading
from lrtuner.store.tables import jobs
from tests.conftest import POSTGRESQL_IS_SLOW
from tests.worker.conftest import SMALL
from worker.loop import MAX_CRASHES, MAX_DEATHS, Worker, pause
from worker.process import Child
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0

# long enough to be interrupted: some tenths of a second a run
LONG = {
    "model": {"name": "mlp", "args": {"hidden": [64]}},
    "dataset": {"name": "digits"},
    "training": {"batch_size": 64, "steps": 300},
    "search": {
        "families": ["polynomial", "constant"],
        "budget": {"full_runs": 4},
        "confirm_pairs": 0,
    },
}

# one run of it takes minutes: whatever happens, happens inside a run of the search
ENDLESS = {
    **LONG,
    "training": {"batch_size": 64, "steps": 300_000},
    "range_test": {"probes": []},
}


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true result of `condition`; polling, with an upper bound."""
    end = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return result


def submit(database: Database, **changes: Any) -> str:
    spec = JobSpec.model_validate({**SMALL, **changes}).model_dump(mode="json")
    with database.writing() as connection:
        return queue.enqueue(connection, spec=spec, name=None, metadata={})


def job_of(database: Database, job_id: str) -> reading.JobRow:
    with database.reading() as connection:
        return reading.get_job(connection, job_id)


def trials_of(database: Database, job_id: str) -> list[reading.TrialRow]:
    with database.reading() as connection:
        return reading.list_trials(connection, job_id, after=-1, limit=1000)


def events_of(database: Database, job_id: str) -> list[reading.EventRow]:
    with database.reading() as connection:
        return reading.list_events(connection, job_id, after=0, limit=1000)


def recommendation_of(database: Database, job_id: str) -> dict[str, Any]:
    with database.reading() as connection:
        text = reading.get_recommendation(connection, job_id)
    assert text is not None
    lrtuner.load(json.loads(text))
    document: dict[str, Any] = json.loads(text)
    for name in ("job_id", "created_at"):
        document["provenance"].pop(name)
    return document


def worker_of(database: Database, database_url: str, **settings: Any) -> Worker:
    told = Settings(database_url=database_url, device="cpu", **settings)
    return Worker(database, told, threading.Event())


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def worker_process(database_url: str, *start: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of its own; `start` is how Python starts it, if not as usual."""
    process = subprocess.Popen(
        [sys.executable, *(start or ("-m", "worker")), "--exit-with-parent"],
        cwd=ROOT,
        env={**os.environ, "LRTUNER_DATABASE_URL": database_url, "LRTUNER_DEVICE": "cpu"},
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def expire_lease(database: Database, job_id: str) -> None:
    with database.writing() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(lease_expires_at=0.0))


def test_a_job_goes_all_the_way(database, database_url):
    job_id = submit(database)
    assert worker_of(database, database_url).work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.attempts == 1
    assert job.progress["phase"] == "confirm"
    assert recommendation_of(database, job_id)["total_steps"] == 40
    trials = trials_of(database, job_id)
    assert [t.number for t in trials] == list(range(job.progress["trials_finished"]))
    assert all(t.state in (TrialState.COMPLETE, TrialState.DIVERGED) for t in trials)
    with database.reading() as connection:
        assert set(reading.list_stages(connection, job_id)) == {s.value for s in Stage}
    kinds = [event.kind for event in events_of(database, job_id)]
    assert kinds[:4] == ["job.queued", "job.started", "environment", "stage.started"]
    assert kinds[-1] == "job.succeeded"
    assert kinds.count("trial.finished") == len(trials)
    assert not worker_of(database, database_url).work_once()


def test_what_prometheus_reads_of_a_worker(database, database_url, monkeypatch):
    worker = worker_of(database, database_url)
    worker.start_child = scripted(
        {"type": "trial_started", "trial": SCRIPTED_TRIAL | {"state": "running"}},
        {"type": "trial_finished", "trial": SCRIPTED_TRIAL, "progress": {"phase": "search"}},
        {"type": "failed", "error": {"code": "job_failed", "message": "no: never"}},
    )
    submit(database)
    assert worker.work_once()
    read = worker.meters.registry.get_sample_value
    assert read("lrtuner_worker_attempts_total", {"outcome": "failed"}) == 1
    assert read("lrtuner_worker_trials_total", {"state": "complete"}) == 1
    assert read("lrtuner_worker_trial_seconds_sum") == 2.5
    assert read("lrtuner_worker_lease_expiries_total") == 0
    assert read("lrtuner_worker_busy") == 0


def test_a_cancel_is_noticed_within_two_seconds(database, database_url):
    job_id = submit(database, **ENDLESS)
    with working(worker_of(database, database_url)):
        until(lambda: trials_of(database, job_id))
        began = time.monotonic()
        with database.writing() as connection:
            assert queue.cancel(connection, job_id) is JobStatus.CANCELLING
        until(lambda: job_of(database, job_id).status is JobStatus.CANCELLED)
        assert time.monotonic() - began < 2.0
        # the slot is free again
        following = submit(database)
        until(lambda: job_of(database, following).status is JobStatus.RUNNING)
    assert len(trials_of(database, job_id)) >= 1


#: Says that a stage has begun and then hears nothing any more.
HANGING = """
import json, sys, time
event = {"type": "event", "kind": "stage.started", "phase": sys.argv[1], "message": "", "data": {}}
print(json.dumps(event), flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("stage", Stage)
def test_a_cancel_ends_every_stage_within_two_seconds(database, database_url, stage):
    children = []

    def start(order):
        children.append(Child(order, command=(sys.executable, "-c", HANGING, stage.value)))
        return children[-1]

    worker = worker_of(database, database_url)
    worker.start_child = start
    job_id = submit(database)
    with working(worker):
        until(lambda: events_of(database, job_id)[-1].phase == stage)
        began = time.monotonic()
        with database.writing() as connection:
            assert queue.cancel(connection, job_id) is JobStatus.CANCELLING
        until(lambda: job_of(database, job_id).status is JobStatus.CANCELLED)
        assert time.monotonic() - began < 2.0
        until(lambda: not is_alive(children[0].pid))
    assert events_of(database, job_id)[-1].kind == "job.cancelled"


def kill_the_child_in_its_first_run(database, worker, job_id, times):
    """Each time the run has begun anew; the children."""
    children, began = [], set()

    def start(order):
        children.append(Child(order))
        return children[-1]

    def fresh_run():
        return [
            t
            for t in trials_of(database, job_id)
            if t.number == 0 and not t.state.is_finished and t.started_at not in began
        ]

    worker.start_child = start
    with working(worker):
        for _ in range(times):
            [run] = until(fresh_run)
            began.add(run.started_at)
            os.kill(children[-1].pid, signal.SIGKILL)
        until(lambda: job_of(database, job_id).status.is_finished)
    return children


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_child_killed_by_chance_costs_nothing(database, database_url):
    reference = submit(database, **LONG)
    worker_of(database, database_url).work_once()
    job_id = submit(database, **LONG)
    worker = worker_of(database, database_url)
    assert len(kill_the_child_in_its_first_run(database, worker, job_id, times=1)) == 2
    assert recommendation_of(database, job_id) == recommendation_of(database, reference)
    assert TrialState.FAILED not in {t.state for t in trials_of(database, job_id)}
    assert "process.restarted" in [e.kind for e in events_of(database, job_id)]


@POSTGRESQL_IS_SLOW
def test_a_run_that_kills_its_process_fails_and_the_job_goes_on(database, database_url):
    job_id = submit(database, **LONG)
    worker = worker_of(database, database_url)
    assert len(kill_the_child_in_its_first_run(database, worker, job_id, MAX_DEATHS)) == 3
    assert job_of(database, job_id).status is JobStatus.SUCCEEDED
    [failed] = [t for t in trials_of(database, job_id) if t.state is TrialState.FAILED]
    assert failed.number == 0
    assert failed.document["error"]["code"] == "process_died"
    assert "SIGKILL" in failed.document["error"]["message"]


@POSTGRESQL_IS_SLOW
def test_nothing_trains_on_after_kill_9_of_the_worker(database, database_url):
    job_id = submit(database, **ENDLESS)
    with worker_process(database_url) as process:
        until(lambda: trials_of(database, job_id))
        children = children_of(process.pid)
        assert children
        process.kill()
        process.wait()
        until(lambda: not any(map(is_alive, children)), patience=10)


@POSTGRESQL_IS_SLOW
def test_after_kill_9_of_the_worker_another_gives_the_same_recommendation(database, database_url):
    reference = submit(database, **LONG)
    worker_of(database, database_url).work_once()
    job_id = submit(database, **LONG)
    with worker_process(database_url) as first:
        until(lambda: sum(t.state.is_finished for t in trials_of(database, job_id)) >= 2)
        orphans = children_of(first.pid)
        assert orphans
        first.kill()
        first.wait()
        until(lambda: not any(map(is_alive, orphans)))
    before = trials_of(database, job_id)
    assert job_of(database, job_id).status is JobStatus.RUNNING
    expire_lease(database, job_id)
    assert worker_of(database, database_url).work_once()
    job = job_of(database, job_id)
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 2)
    assert recommendation_of(database, job_id) == recommendation_of(database, reference)
    after = trials_of(database, job_id)
    finished = [t for t in before if t.state.is_finished]
    assert [t for t in after if t.number in {f.number for f in finished}] == finished
    assert {t.attempt for t in after} == {1, 2}


@POSTGRESQL_IS_SLOW
def test_sigterm_hands_the_job_back_uncharged(database, database_url):
    job_id = submit(database, **LONG)
    with worker_process(database_url) as process:
        until(lambda: trials_of(database, job_id))
        children = children_of(process.pid)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not any(map(is_alive, children))
    job = job_of(database, job_id)
    assert job.status is JobStatus.QUEUED
    assert job.max_attempts - job.attempts == 3
    assert worker_of(database, database_url).work_once()
    assert job_of(database, job_id).status is JobStatus.SUCCEEDED


@POSTGRESQL_IS_SLOW
def test_a_worker_whose_lease_was_taken_over_stores_nothing_more(database, database_url):
    job_id = submit(database, **LONG)
    with working(worker_of(database, database_url)):
        until(lambda: trials_of(database, job_id))
        with database.writing() as connection:
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == job_id)
                .values(attempt=jobs.c.attempt + 1, owner="another")
            )
        stored = trials_of(database, job_id)
        following = submit(database)
        until(lambda: job_of(database, following).status is JobStatus.RUNNING)
    assert trials_of(database, job_id) == stored
    assert job_of(database, job_id).status is JobStatus.RUNNING


def test_a_process_that_always_dies_fails_the_job_with_the_reason(database, database_url):
    worker = worker_of(database, database_url)
    started = []

    def start(order):
        started.append(order)
        return Child(order, command=(sys.executable, "-c", "import os; os.abort()"))

    worker.start_child = start
    job_id = submit(database)
    assert worker.work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error["code"] == "process_died"
    assert "SIGABRT" in job.error["message"]
    assert len(started) == MAX_CRASHES


def test_a_fault_of_the_worker_is_tried_again_later_and_later(database, database_url):
    worker = worker_of(database, database_url)

    def start(order):
        raise OSError(28, "No space left on device")

    worker.start_child = start
    job_id = submit(database)
    for _ in range(3):
        assert worker.work_once()
        with database.writing() as connection:
            connection.execute(sa.update(jobs).values(not_before=0.0))
    job = job_of(database, job_id)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 3)
    assert "No space left on device" in job.error["message"]
    retried = [e.data for e in events_of(database, job_id) if e.kind == "job.retried"]
    assert [data["delay_seconds"] for data in retried] == [10.0, 20.0]
    assert all("No space left" in data["error"]["message"] for data in retried)
    assert [pause(n) for n in (3, 6, 7, 100, 2000)] == [40.0, 320.0, 600.0, 600.0, 600.0]


SCRIPTED_TRIAL = {
    "number": 0,
    "state": "complete",
    "seconds": 2.5,
    "phase": "search",
    "purpose": "final",
    "arm": "a",
    "value": 0.5,
    "cost": 1.0,
    "error": None,
    "schedule": {"peak_lr": 0.1, "body": {"family": "constant"}},
}


def scripted(*messages):
    """A child that says just this."""

    class Scripted:
        def __init__(self, order):
            self.messages = iter(messages)

        def next_message(self, timeout):
            return next(self.messages)

        def end(self):
            return 0

    return Scripted


@pytest.mark.parametrize("verb", ["start_trial", "finish_trial", "finish_stage", "succeed"])
def test_a_commit_whose_answer_is_lost_is_not_made_twice(database, database_url, monkeypatch, verb):
    """The database goes away while it commits: it did, and the worker cannot know."""
    worker = worker_of(database, database_url)
    real, said = getattr(queue, verb), []
    monkeypatch.setattr("worker.loop._RETRY_SECONDS", 0.0)

    @contextmanager
    def forgetful():
        with database.writing() as connection:
            yield connection
        if said == ["written"]:
            said.append("lost")
            raise DatabaseDownError("gone")

    def noted(connection, claim, **arguments):
        real(connection, claim, **arguments)
        said.append("written")

    monkeypatch.setattr(queue, verb, noted)
    worker.database = SimpleNamespace(writing=forgetful, reading=database.reading)
    worker.start_child = scripted(
        {"type": "trial_started", "trial": SCRIPTED_TRIAL | {"state": "running"}},
        {"type": "trial_finished", "trial": SCRIPTED_TRIAL, "progress": {}},
        {"type": "stage_finished", "stage": "search", "result": {"best": 0}},
        {"type": "finished", "recommendation": "{}"},
    )
    job_id = submit(database)
    assert worker.work_once()
    assert said[:2] == ["written", "lost"]
    job = job_of(database, job_id)
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
    assert [t.state for t in trials_of(database, job_id)] == [TrialState.COMPLETE]
    kinds = ["job.queued", "job.started", "trial.finished", "job.succeeded"]
    assert [event.kind for event in events_of(database, job_id)] == kinds


def test_a_database_that_is_away_when_a_process_starts_costs_no_attempt(
    database, database_url, monkeypatch
):
    worker = worker_of(database, database_url)
    monkeypatch.setattr("worker.loop._RETRY_SECONDS", 0.0)
    away = [DatabaseDownError("gone")] * 2

    def reading_later():
        if away:
            raise away.pop()
        return database.reading()

    worker.database = SimpleNamespace(writing=database.writing, reading=reading_later)
    worker.start_child = scripted({"type": "finished", "recommendation": "{}"})
    job_id = submit(database)
    assert worker.work_once()
    job = job_of(database, job_id)
    assert (job.status, job.attempts, away) == (JobStatus.SUCCEEDED, 1, [])


@pytest.mark.parametrize("said", [None, {"type": "finished", "recommendation": "{}"}])
def test_without_a_database_for_longer_than_the_lease_the_child_is_killed(
    database, database_url, monkeypatch, said
):
    """By the worker's own clock: whether the job was taken over nobody can tell it."""
    worker = worker_of(database, database_url, lease_seconds=30)
    clock = SimpleNamespace(now=0.0)

    def passes(seconds):
        clock.now += seconds

    monkeypatch.setattr(
        "worker.loop.time", SimpleNamespace(monotonic=lambda: clock.now, sleep=passes)
    )

    @contextmanager
    def gone():
        raise DatabaseDownError("gone")
        yield

    class Silent:
        ended = 0

        def __init__(self, order):
            worker.database.writing = gone

        def next_message(self, timeout):
            passes(timeout)
            if said is None:
                raise queues.Empty
            return said

        def end(self):
            Silent.ended += 1
            return -9

    worker.database = SimpleNamespace(writing=database.writing, reading=database.reading)
    worker.start_child = Silent
    job_id = submit(database)
    assert worker.work_once()
    assert Silent.ended == 1
    assert 30 < clock.now < 32
    job = job_of(database, job_id)
    assert (job.status, job.attempts) == (JobStatus.RUNNING, 1)
    expire_lease(database, job_id)
    worker.database = database
    worker.start_child = scripted({"type": "finished", "recommendation": "{}"})
    assert worker.work_once()
    assert (job_of(database, job_id).status, job_of(database, job_id).attempts) == ("succeeded", 2)


@POSTGRESQL_IS_SLOW
def test_out_of_memory_is_contained_and_reported(database, database_url):
    huge = {"name": "mlp", "args": {"hidden": [40_000, 40_000]}}  # 6.4 GB of weights
    job_id = submit(database, model=huge)
    assert worker_of(database, database_url, memory_limit_mb=3000).work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error["code"] == "nothing_trained"
    assert "out_of_memory" in job.error["message"]
    trials = trials_of(database, job_id)
    assert [t.state for t in trials] == [TrialState.FAILED] * 3
    assert {t.document["error"]["code"] for t in trials} == {"out_of_memory"}
    with database.reading() as connection:
        found = reading.get_stage(connection, job_id, Stage.RANGE_TEST)
    assert found is not None
    assert found["status"] == "failed"


@POSTGRESQL_IS_SLOW
def test_a_spec_that_this_version_does_not_understand_fails_the_job(database, database_url):
    with database.writing() as connection:
        job_id = queue.enqueue(connection, spec={"model": "old"}, name=None, metadata={})
    assert worker_of(database, database_url).work_once()
    job = job_of(database, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error["code"] == "invalid_input"
