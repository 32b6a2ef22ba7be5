"""Jobs that have to be finished by a time, and evidence that is kept for a time; everywhere."""

import pytest

from lrtuner.errors import LeaseLostError
from lrtuner.lifecycle import JobStatus, Stage, TrialState
from lrtuner.store import queue, reading, retention
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import TIMESTAMPS, jobs

S = JobStatus
HOUR = 3600.0


def move_deadline(store, job_id, seconds):
    change = jobs.update().where(jobs.c.id == job_id).values(deadline_at=DatabaseClock() + seconds)
    store.do(lambda connection: connection.execute(change))


def age(store, job_id, seconds):
    """Let the job have ended so long ago."""
    moved = {jobs.c[name]: jobs.c[name] - seconds for name in TIMESTAMPS.values()}
    change = jobs.update().where(jobs.c.id == job_id).values(moved)
    store.do(lambda connection: connection.execute(change))


def test_a_job_that_waits_past_its_deadline_expires_and_is_never_run(store):
    job_id = store.enqueue(deadline_seconds=HOUR)
    assert store.job(job_id).deadline_at == pytest.approx(
        store.job(job_id).timestamps["queued_at"] + HOUR, abs=1
    )
    assert store.do(queue.reap) == []
    move_deadline(store, job_id, -1)
    assert store.claim() is None  # also before anybody reaped it
    assert store.do(queue.reap) == [job_id]
    job = store.job(job_id)
    assert (job.status, job.error["code"]) == (S.EXPIRED, "expired")
    assert store.kinds(job_id) == ["job.queued", "job.expired"]
    assert store.entered(job_id) == {"queued", "expired"}
    assert store.do(queue.reap) == []


def test_the_worker_of_a_job_that_expires_can_store_nothing_more(store):
    job_id = store.enqueue(deadline_seconds=HOUR)
    claim = store.claim()
    trial = {"number": 0, "state": "running"}
    store.do(queue.start_trial, claim, number=0, phase="search", document=trial)
    move_deadline(store, job_id, -1)
    assert store.do(queue.reap) == [job_id]
    for write in (queue.heartbeat, queue.succeed):
        arguments = {"lease_seconds": 9.0} if write is queue.heartbeat else {"recommendation": "{}"}
        with pytest.raises(LeaseLostError):
            store.do(write, claim, **arguments)
    assert store.job(job_id).status is S.EXPIRED
    [row] = store.read(reading.list_trials, job_id, limit=9)
    assert row.state is TrialState.FAILED


def test_a_job_finishes_even_after_its_deadline_if_nobody_has_reaped_it(store):
    job_id = store.enqueue(deadline_seconds=HOUR)
    claim = store.claim()
    move_deadline(store, job_id, -1)
    store.do(queue.succeed, claim, recommendation="{}")
    assert store.do(queue.reap) == []
    assert store.job(job_id).status is S.SUCCEEDED


def test_a_job_that_is_being_cancelled_does_not_expire(store):
    job_id = store.enqueue(deadline_seconds=HOUR)
    claim = store.claim()
    store.do(queue.cancel, job_id)
    move_deadline(store, job_id, -1)
    assert store.do(queue.reap) == []
    store.do(queue.confirm_cancelled, claim)
    assert store.job(job_id).status is S.CANCELLED


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED, S.CANCELLED])
def test_old_evidence_goes_and_the_recommendation_stays(store, status):
    job_id = store.enqueue(metadata={"commit": "abc"})
    claim = store.claim()
    trial = {"number": 0, "state": "running"}
    store.do(queue.start_trial, claim, number=0, phase="search", document=trial)
    store.do(queue.finish_stage, claim, stage=Stage.RANGE_TEST, result={"lrs": [1.0]})
    if status is S.SUCCEEDED:
        store.do(queue.succeed, claim, recommendation='{"peak_lr": 0.1}')
    elif status is S.FAILED:
        store.do(queue.fail, claim, error={"code": "nothing_trained"})
    else:
        store.do(queue.cancel, job_id)
        store.do(queue.confirm_cancelled, claim)
    events = store.kinds(job_id)
    assert store.do(retention.prune, older_than_seconds=HOUR) == []
    age(store, job_id, 2 * HOUR)
    assert store.do(retention.prune, older_than_seconds=HOUR) == [job_id]
    assert store.read(reading.list_trials, job_id, limit=9) == []
    assert store.read(reading.list_stages, job_id) == {}
    job = store.job(job_id)
    assert job.pruned_at is not None
    assert (job.status, job.metadata, store.kinds(job_id)) == (status, {"commit": "abc"}, events)
    kept = store.read(reading.get_recommendation, job_id)
    assert kept == ('{"peak_lr": 0.1}' if status is S.SUCCEEDED else None)
    assert store.do(retention.prune, older_than_seconds=HOUR) == []  # once is enough


def test_evidence_of_a_job_that_is_not_finished_stays_however_old(store):
    job_id = store.enqueue()
    claim = store.claim()
    store.do(queue.finish_stage, claim, stage=Stage.RANGE_TEST, result={})
    age(store, job_id, 1e6)
    assert store.do(retention.prune, older_than_seconds=1.0) == []
    assert store.read(reading.list_stages, job_id) == {"range_test": {}}


def test_only_so_many_are_pruned_at_once(store, monkeypatch):
    monkeypatch.setattr(retention, "MOST_AT_ONCE", 2)
    ended = [store.enqueue() for _ in range(3)]
    for job_id in ended:
        store.do(queue.cancel, job_id)
        age(store, job_id, 2.0)
    assert store.do(retention.prune, older_than_seconds=1.0) == ended[:2]
    assert store.do(retention.prune, older_than_seconds=1.0) == ended[2:]
