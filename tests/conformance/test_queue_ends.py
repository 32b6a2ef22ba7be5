"""How jobs end: success, failure, retry, drain, cancel; on every database."""

import random

import pytest
import sqlalchemy as sa

from lrtuner.errors import ConflictError, LeaseLostError, NotFoundError
from lrtuner.lifecycle import TRANSITIONS, JobStatus, TrialState
from lrtuner.store import queue, reading
from lrtuner.store.tables import jobs, recommendations

S = JobStatus

# --- the end ------------------------------------------------------------------------------------


def test_success_publishes_the_exact_text(store):
    text = '{"peak_lr": 1.0e-05,\n "name": "größer \\u0000 🎉"}  '
    job_id = store.enqueue()
    claim = store.claim()
    assert store.read(reading.get_recommendation, job_id) is None
    store.do(queue.succeed, claim, recommendation=text)
    assert store.read(reading.get_recommendation, job_id) == text
    assert store.job(job_id).status is S.SUCCEEDED
    assert store.entered(job_id) == {"queued", "started", "succeeded"}
    assert store.kinds(job_id) == ["job.queued", "job.started", "job.succeeded"]


def test_a_second_publication_is_refused_by_the_table_itself(store):
    job_id, _ = store.job_in(S.SUCCEEDED)
    row = {"job_id": job_id, "attempt": 2, "document": "{}", "published_at": 0.0}
    with pytest.raises(sa.exc.IntegrityError):
        store.do(lambda connection: connection.execute(recommendations.insert().values(row)))


def test_a_failure_keeps_its_error(store):
    job_id = store.enqueue()
    error = {"code": "nothing_trained", "message": "every trial diverged"}
    store.do(queue.fail, store.claim(), error=error)
    job = store.job(job_id)
    assert (job.status, job.error) == (S.FAILED, error)
    assert store.events(job_id)[-1].data["error"] == error
    assert store.claim() is None


def test_a_retry_waits_for_its_delay(store):
    job_id = store.enqueue()
    store.do(queue.retry, store.claim(), error={"code": "lost_child"}, delay_seconds=1e6)
    job = store.job(job_id)
    assert (job.status, job.error) == (S.QUEUED, None)
    assert store.events(job_id)[-1].kind == "job.retried"
    assert store.events(job_id)[-1].data["error"] == {"code": "lost_child"}
    assert store.claim() is None
    store.do(
        lambda connection: connection.execute(
            jobs.update().values(not_before=jobs.c.not_before - 1e6)
        )
    )
    assert store.claim().attempt == 2


def test_a_retry_of_the_last_attempt_fails_the_job(store):
    job_id = store.enqueue(max_attempts=2)
    store.do(queue.retry, store.claim(), error={"code": "lost_child"}, delay_seconds=0)
    store.do(queue.retry, store.claim(), error={"code": "lost_child"}, delay_seconds=0)
    job = store.job(job_id)
    assert (job.status, job.error, job.attempts) == (S.FAILED, {"code": "lost_child"}, 2)
    assert store.kinds(job_id)[2:] == ["job.retried", "job.rescued", "job.failed"]


def test_a_drained_attempt_is_not_charged(store):
    job_id = store.enqueue(max_attempts=2)
    for attempt in range(1, 6):
        claim = store.claim()
        assert claim.attempt == attempt
        store.do(queue.release, claim)
        assert store.job(job_id).status is S.QUEUED
        assert store.do(queue.reap) == []
    assert store.events(job_id)[-1].kind == "job.released"
    # Two real losses are still what it takes.
    assert store.claim(lease_seconds=-1) is not None
    assert store.claim(lease_seconds=-1) is not None
    assert store.claim() is None
    assert store.do(queue.reap) == [job_id]


# --- cancel -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (S.QUEUED, S.CANCELLED),
        (S.RUNNING, S.CANCELLING),
        (S.CANCELLING, S.CANCELLING),
        (S.CANCELLED, S.CANCELLED),
    ],
)
def test_cancel(store, status, after):
    job_id, _ = store.job_in(status)
    before = store.kinds(job_id)
    assert store.do(queue.cancel, job_id) is after
    assert store.job(job_id).status is after
    expected = [] if status is after else [f"job.{after}"]
    assert store.kinds(job_id) == before + expected
    assert store.do(queue.cancel, job_id) is after  # repeating it changes nothing
    assert store.kinds(job_id) == before + expected
    assert after in store.entered(job_id)
    assert store.claim() is None


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED])
def test_a_finished_job_cannot_be_cancelled(store, status):
    job_id, _ = store.job_in(status)
    with pytest.raises(ConflictError, match=status):
        store.do(queue.cancel, job_id)
    assert store.job(job_id).status is status


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_run_in_flight_ends_with_its_job_and_says_why(store, end):
    job_id = store.enqueue()
    claim = store.claim()
    store.do(queue.start_trial, claim, number=0, phase="search", document={"seed": 7})
    if end == "cancelled":
        store.do(queue.cancel, job_id)
        store.do(queue.confirm_cancelled, claim)
    else:
        store.do(queue.fail, claim, error={"code": "process_died"})
    (trial,) = store.read(reading.list_trials, job_id, limit=9)
    assert trial.state is TrialState.FAILED
    assert trial.finished_at is not None
    assert trial.document["seed"] == 7
    assert trial.document["error"]["code"] == "job_ended"
    assert end in trial.document["error"]["message"]


def test_a_run_in_flight_goes_on_when_its_job_is_handed_back(store):
    job_id = store.enqueue()
    claim = store.claim()
    store.do(queue.start_trial, claim, number=0, phase="search", document={})
    store.do(queue.release, claim)
    (trial,) = store.read(reading.list_trials, job_id, limit=9)
    assert trial.state is TrialState.RUNNING


def test_cancel_of_an_unknown_job(store):
    with pytest.raises(NotFoundError, match="job_x"):
        store.do(queue.cancel, "job_x")


def test_the_worker_confirms_that_it_stopped(store):
    job_id, claim = store.job_in(S.CANCELLING)
    store.do(queue.confirm_cancelled, claim)
    assert store.job(job_id).status is S.CANCELLED
    assert store.kinds(job_id)[-1] == "job.cancelled"


def test_a_cancelling_job_whose_worker_died_is_cancelled_and_never_run_again(store):
    job_id = store.enqueue()
    store.claim()
    store.do(queue.cancel, job_id)
    assert store.do(queue.reap) == []
    store.expire_lease(job_id)
    assert store.claim() is None
    assert store.do(queue.reap) == [job_id]
    assert store.job(job_id).status is S.CANCELLED
    assert store.do(queue.reap) == []


# --- all of it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_verbs_keeps_to_the_state_diagram(store, seed):
    """A random walk with stale claims: every change of state is allowed and has one event."""
    rng = random.Random(seed)
    job_id = store.enqueue(max_attempts=4)
    claims = []

    def take():
        claim = store.claim(lease_seconds=rng.choice([-1, 60]))
        if claim:
            claims.append(claim)

    def stale_or_not():
        return rng.choice(claims[-2:])

    steps = [
        take,
        take,
        lambda: store.expire_lease(job_id),
        lambda: store.do(queue.reap),
        lambda: store.do(queue.release, stale_or_not()),
        lambda: store.do(queue.retry, stale_or_not(), error={}, delay_seconds=0),
        lambda: store.do(queue.confirm_cancelled, stale_or_not()),
        lambda: store.do(queue.heartbeat, stale_or_not(), lease_seconds=60),
    ]
    final = [
        lambda: store.do(queue.cancel, job_id),
        lambda: store.do(queue.succeed, stale_or_not(), recommendation="{}"),
        lambda: store.do(queue.fail, stale_or_not(), error={}),
    ]
    take()
    for step in range(40):
        before, told = store.job(job_id), len(store.events(job_id))
        try:
            rng.choice(steps if step < 20 else steps + final)()
        except (LeaseLostError, ConflictError):
            assert store.job(job_id) == before
            assert len(store.events(job_id)) == told
            continue
        after, events = store.job(job_id), store.events(job_id)
        assert after.attempts >= before.attempts
        rescued = after.attempts > before.attempts and before.status is S.RUNNING
        changed = after.status is not before.status or rescued
        assert rescued or not changed or after.status in TRANSITIONS[before.status]
        assert len(events) - told == int(changed)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
