"""How jobs are taken: order, leases, poison; on every database."""

import time

import pytest
import sqlalchemy as sa

from lrtuner.errors import LeaseLostError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue, reading
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import jobs

S = JobStatus


# --- the clock ----------------------------------------------------------------------------------


def test_the_database_clock_is_a_number_near_ours(store):
    clock = store.do(lambda connection: connection.scalar(sa.select(DatabaseClock())))
    assert isinstance(clock, float)
    assert clock == pytest.approx(time.time(), abs=5)


def test_the_database_clock_moves_on_inside_a_transaction(database):
    with database.writing() as connection:
        start = connection.scalar(sa.select(DatabaseClock()))
        deadline = time.monotonic() + 5
        while connection.scalar(sa.select(DatabaseClock())) == start:
            assert time.monotonic() < deadline


# --- enqueue and claim --------------------------------------------------------------------------


def test_a_job_is_queued_with_its_first_event(store):
    job_id = store.enqueue(spec={"seed": 1}, name="n", metadata={"commit": "abc"}, priority=7)
    job = store.job(job_id)
    assert (job.status, job.attempts, job.max_attempts) == (S.QUEUED, 0, 3)
    assert (job.spec, job.name, job.metadata, job.priority) == (
        {"seed": 1},
        "n",
        {"commit": "abc"},
        7,
    )
    assert (job.progress, job.error) == (None, None)
    assert store.entered(job_id) == {"queued"}
    assert job_id.startswith("job_")
    assert len(job_id) == 30
    assert [(event.seq, event.kind) for event in store.events(job_id)] == [(1, "job.queued")]


def test_a_transaction_that_is_rolled_back_leaves_no_job(store):
    def break_off(connection):
        queue.enqueue(connection, spec={}, name=None, metadata={"a": "b"})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.do(break_off)
    assert store.read(reading.list_jobs, limit=10).items == []


def test_a_claim_starts_the_job(store):
    job_id = store.enqueue(spec={"seed": 1})
    claim = store.claim(owner="w1", lease_seconds=30)
    assert (claim.job_id, claim.attempt, claim.owner, claim.spec) == (job_id, 1, "w1", {"seed": 1})
    assert 0 <= claim.elapsed_seconds < 5
    job = store.job(job_id)
    assert (job.status, job.attempts) == (S.RUNNING, 1)
    assert job.timestamps["started_at"] == claim.started_at == pytest.approx(time.time(), abs=5)
    assert store.kinds(job_id) == ["job.queued", "job.started"]


def test_nothing_to_claim(store):
    assert store.claim() is None
    store.enqueue()
    assert store.claim() is not None
    assert store.claim() is None


def test_lower_priority_first_then_in_order_of_arrival(store):
    arrived = [(store.enqueue(priority=priority), priority) for priority in (5, 1, 100, 1, 5, 0)]
    expected = [job_id for job_id, _ in sorted(arrived, key=lambda item: item[1])]  # stable
    assert [store.claim().job_id for _ in arrived] == expected


# --- leases -------------------------------------------------------------------------------------


def test_an_expired_lease_can_be_claimed_again(store):
    job_id = store.enqueue()
    first = store.claim(owner="w1", lease_seconds=60)
    assert store.claim() is None
    store.expire_lease(job_id)
    second = store.claim(owner="w2", lease_seconds=60)
    assert (second.job_id, second.attempt) == (job_id, 2)
    assert second.started_at == first.started_at
    assert second.elapsed_seconds >= first.elapsed_seconds
    assert store.job(job_id).status is S.RUNNING
    assert store.kinds(job_id) == ["job.queued", "job.started", "job.rescued"]


@pytest.mark.parametrize("lease_seconds", [0.0, -1.0])
def test_a_lease_ends_by_the_database_clock(store, lease_seconds):
    store.enqueue()
    attempts = [store.claim(lease_seconds=lease_seconds).attempt for _ in range(3)]
    assert attempts == [1, 2, 3]


def test_a_heartbeat_renews_the_lease(store):
    store.enqueue()
    claim = store.claim(lease_seconds=-1)
    assert store.do(queue.heartbeat, claim, lease_seconds=60) is S.RUNNING
    assert store.claim() is None


def test_a_write_renews_the_lease_by_what_was_claimed(store):
    job_id = store.enqueue()
    claim = store.claim(lease_seconds=60)
    store.expire_lease(job_id)
    store.do(queue.fence, claim)
    assert store.claim() is None


def test_a_heartbeat_tells_of_cancelling(store):
    job_id, claim = store.job_in(S.CANCELLING)
    assert store.do(queue.heartbeat, claim, lease_seconds=60) is S.CANCELLING
    assert store.job(job_id).status is S.CANCELLING


# --- poison -------------------------------------------------------------------------------------


def test_a_job_that_kills_its_workers_fails_after_max_attempts(store):
    poison = store.enqueue(max_attempts=3, priority=0)
    starts = 0
    while (claim := store.claim(lease_seconds=-1)) is not None:
        assert claim.job_id == poison
        starts += 1
    assert starts == 3
    healthy = store.enqueue()
    assert store.claim().job_id == healthy
    assert store.job(poison).status is S.RUNNING

    assert store.do(queue.reap) == [poison]
    job = store.job(poison)
    assert (job.status, job.error["code"], job.attempts) == (S.FAILED, "max_attempts", 3)
    assert store.entered(poison) == {"queued", "started", "failed"}
    assert store.kinds(poison)[-1] == "job.failed"
    assert store.do(queue.reap) == []
    assert store.job(healthy).status is S.RUNNING


def test_a_job_that_is_given_up_tells_what_became_of_each_attempt(store):
    job_id = store.enqueue(max_attempts=2)
    store.do(queue.release, store.claim())
    lost = store.claim()
    store.expire_lease(job_id)
    broken = store.claim()
    assert store.do(queue.reap) == []
    message = "RuntimeError: no luck"
    put_back = {"error": {"message": message}, "delay_seconds": 0.0}
    with pytest.raises(LeaseLostError):
        store.do(queue.retry, lost, **put_back)
    store.do(lambda connection: connection.execute(jobs.update().values(max_attempts=4)))
    store.do(queue.retry, broken, **put_back)
    assert store.claim(lease_seconds=-1).attempt == 4
    assert store.do(queue.reap) == [job_id]
    assert store.job(job_id).error["message"] == (
        "4 attempts ended without a result: 1 was handed back at a shutdown; "
        f"2 was lost with its worker; 3 broke off ({message}); 4 was lost with its worker"
    )
    told = [event.message for event in store.events(job_id) if event.kind == "job.rescued"]
    assert [message.startswith("Attempt") for message in told] == [False, True, False]
    assert told[1] == "Attempt 2 was lost: its worker went silent. A worker took over, attempt 3"


def test_a_queued_job_without_attempts_left_is_reaped_too(store):
    job_id = store.enqueue()
    store.do(lambda connection: connection.execute(jobs.update().values(attempt=3)))
    assert store.claim() is None
    assert store.do(queue.reap) == [job_id]


def test_the_reaper_leaves_living_jobs_alone(store):
    store.job_in(S.RUNNING)
    store.job_in(S.CANCELLING)
    store.enqueue()
    store.enqueue()
    store.claim(lease_seconds=-1)  # expired, but with attempts left
    assert store.do(queue.reap) == []


def test_a_claim_tells_a_rescue_from_a_job_that_was_handed_back(store):
    job_id = store.enqueue()
    claim = store.claim()
    assert not claim.rescued
    store.do(queue.release, claim)
    claim = store.claim()
    assert not claim.rescued
    store.expire_lease(job_id)
    claim = store.claim()
    assert claim.rescued
    store.do(queue.retry, claim, error={}, delay_seconds=0)
    assert not store.claim().rescued
