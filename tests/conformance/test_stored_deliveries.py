"""Messages to webhooks as they are kept, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from lrtuner.errors import LeaseLostError, NotFoundError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import deliveries, queue
from lrtuner.store.tables import deliveries as table
from lrtuner.store.tables import webhooks
from lrtuner.webhook import WEBHOOK_EVENTS, Receiver, Webhook
from tests.conformance.test_deadlines import move_deadline

URL = "https://ci.example.org/hook"


def watched(store, events=WEBHOOK_EVENTS, **options):
    """A job with a webhook."""
    job_id = store.enqueue(**options)
    webhook = Webhook(url=URL, events=list(events), secret=None)
    store.do(deliveries.subscribe, job_id, webhook)
    return job_id


def sent(store, job_id=None):
    """The messages, oldest first."""
    rows = store.read(deliveries.list_deliveries, before=None, limit=1000, job_id=job_id)
    return rows[::-1]


def events_of(store, job_id):
    return [row.event for row in sent(store, job_id)]


def take(store, limit=100, lease_seconds=60.0):
    return store.do(deliveries.take, limit=limit, lease_seconds=lease_seconds)


def let_time_pass(store, **columns):
    """All times of messages lie so many seconds further back."""
    changes = {name: table.c[name] - seconds for name, seconds in columns.items()}
    store.do(lambda connection: connection.execute(sa.update(table).values(**changes)))


def is_watched(store, job_id):
    query = sa.select(webhooks).where(webhooks.c.job_id == job_id)
    return store.read(lambda connection: connection.execute(query).first()) is not None


def finish(store, claim, status):
    match status:
        case JobStatus.SUCCEEDED:
            store.do(queue.succeed, claim, recommendation="{}")
        case JobStatus.FAILED:
            store.do(queue.fail, claim, error={"code": "test"})
        case JobStatus.CANCELLED:
            store.do(queue.cancel, claim.job_id)
            store.do(queue.confirm_cancelled, claim)
        case JobStatus.EXPIRED:
            move_deadline(store, claim.job_id, -1)
            store.do(queue.reap)


ENDS = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED]


@pytest.mark.parametrize("status", ENDS)
def test_the_start_and_every_end_are_told_once(store, status):
    job_id = watched(store, deadline_seconds=1000)
    assert events_of(store, job_id) == []
    claim = store.claim()
    assert events_of(store, job_id) == ["job.started"]
    finish(store, claim, status)
    assert store.job(job_id).status is status
    assert events_of(store, job_id) == ["job.started", f"job.{status}"]
    assert not is_watched(store, job_id)  # and its secret is gone with it


def test_a_job_that_waits_is_told_of_when_it_is_cancelled(store):
    job_id = watched(store)
    store.do(queue.cancel, job_id)
    assert events_of(store, job_id) == ["job.cancelled"]


def test_a_second_attempt_is_no_second_start(store):
    job_id = watched(store, max_attempts=2)
    store.claim()
    store.expire_lease(job_id)
    store.claim()
    store.expire_lease(job_id)
    store.do(queue.reap)
    assert events_of(store, job_id) == ["job.started", "job.failed"]


def test_only_the_events_that_were_asked_for(store):
    job_id = watched(store, events=["job.failed"])
    other = store.enqueue()
    for _ in range(2):
        store.do(queue.succeed, store.claim(), recommendation="{}")
    assert events_of(store, job_id) == events_of(store, other) == []
    assert not is_watched(store, job_id)


def test_a_message_is_there_exactly_when_the_change_is(store):
    job_id = watched(store)
    claim = store.claim()

    def and_break_off(connection):
        queue.succeed(connection, claim, recommendation="{}")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.do(and_break_off)
    assert events_of(store, job_id) == ["job.started"]
    assert is_watched(store, job_id)
    store.expire_lease(job_id)
    store.claim()
    with pytest.raises(LeaseLostError):
        store.do(queue.succeed, claim, recommendation="{}")
    assert events_of(store, job_id) == ["job.started"]


def test_what_is_taken_is_left_alone_until_its_lease_runs_out(store):
    watched(store)
    store.claim()
    assert store.read(deliveries.is_due)
    [taken] = take(store)
    assert (taken.event, taken.url, taken.num_tries) == ("job.started", URL, 0)
    assert not store.read(deliveries.is_due)
    assert take(store) == []
    let_time_pass(store, next_try_at=61)
    assert store.read(deliveries.is_due)
    [again] = take(store)
    assert again.id == taken.id
    assert not store.do(deliveries.record, taken, {"status": 200}, status="delivered")
    assert sent(store)[0].status == "pending"
    assert store.do(deliveries.record, again, {"status": 204}, status="delivered")
    [row] = sent(store)
    assert (row.status, row.next_try_at, row.num_tries) == ("delivered", None, 1)
    [tried] = row.tries
    assert tried["status"] == 204
    assert tried["at"] == pytest.approx(row.created_at, abs=60)


def test_what_failed_is_due_again_after_its_delay(store):
    watched(store)
    store.claim()
    [taken] = take(store)
    store.do(deliveries.record, taken, {"status": 500}, status="pending", delay_seconds=300.0)
    assert take(store) == []
    let_time_pass(store, next_try_at=299)
    assert take(store) == []
    let_time_pass(store, next_try_at=1.1)
    [again] = take(store)
    assert (again.id, again.num_tries) == (taken.id, 1)


def test_many_tries_keep_the_newest(store):
    watched(store)
    store.claim()
    for number in range(25):
        [taken] = take(store)
        store.do(deliveries.record, taken, {"number": number}, status="pending", delay_seconds=-1.0)
    [row] = sent(store)
    assert row.num_tries == 25
    assert [tried["number"] for tried in row.tries] == list(range(5, 25))


def test_a_receiver_that_is_gone_is_told_nothing_more(store):
    job_id = watched(store)
    claim = store.claim()
    [taken] = take(store)
    store.do(deliveries.record, taken, {"status": 410}, status="failed", forget_webhook=True)
    store.do(queue.succeed, claim, recommendation="{}")
    assert [row.status for row in sent(store, job_id)] == ["failed"]


def test_nobody_takes_what_another_has_taken(store):
    for _ in range(40):
        watched(store)
        store.claim()
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: take(store, limit=10), range(8)))
    ids = [message.id for messages in taken for message in messages]
    assert len(ids) == len(set(ids)) == 40
    assert max(map(len, taken)) == 10


def test_those_that_wait_longest_come_first(store):
    ids = [store.do(deliveries.post_test, Receiver(url=URL)) for _ in range(3)]
    assert [taken.id for taken in take(store, limit=2)] == ids[:2]
    assert [taken.id for taken in take(store, limit=2)] == ids[2:]


def test_redelivery_starts_anew_under_the_same_id(store):
    watched(store)
    store.claim()
    [taken] = take(store)
    store.do(deliveries.record, taken, {"status": 500}, status="failed")
    assert take(store) == []
    store.do(deliveries.redeliver, taken.id)
    [again] = take(store)
    assert (again.id, again.num_tries) == (taken.id, 0)
    store.do(deliveries.record, again, {"status": 200}, status="delivered")
    [row] = sent(store)
    assert [tried["status"] for tried in row.tries] == [500, 200]
    with pytest.raises(NotFoundError):
        store.do(deliveries.redeliver, "msg_none")
    with pytest.raises(NotFoundError):
        store.read(deliveries.get_delivery, "msg_none")


def test_a_test_belongs_to_no_job_and_brings_its_secret(store):
    receiver = Receiver(url=URL, secret="whsec_" + "A" * 32)
    delivery_id = store.do(deliveries.post_test, receiver)
    row = store.read(deliveries.get_delivery, delivery_id)
    assert (row.job_id, row.event, row.status) == (None, "webhook.test", "pending")
    [taken] = take(store)
    assert taken.secret == receiver.secret
    assert "AAAA" not in repr(taken) + repr(row)


def test_pages(store):
    job_id = watched(store)
    store.do(queue.succeed, store.claim(), recommendation="{}")
    store.do(deliveries.post_test, Receiver(url=URL))
    newest, middle, oldest = store.read(deliveries.list_deliveries, before=None, limit=10)
    assert [newest.event, middle.event, oldest.event] == [
        "webhook.test", "job.succeeded", "job.started",
    ]  # fmt: skip
    assert store.read(deliveries.list_deliveries, before=newest.seq, limit=1) == [middle]
    found = store.read(deliveries.list_deliveries, before=None, limit=10, job_id=job_id)
    assert found == [middle, oldest]
    assert store.read(deliveries.count_pending) == 3


def test_old_messages_are_removed_but_for_those_to_be_delivered(store):
    for _ in range(3):
        watched(store)
        store.claim()
    delivered, _waiting, _young = take(store)
    store.do(deliveries.record, delivered, {"status": 200}, status="delivered")
    assert store.do(deliveries.prune, older_than_seconds=100.0) == 0
    let_time_pass(store, created_at=101)
    assert store.do(deliveries.prune, older_than_seconds=100.0) == 1
    assert delivered.id not in [row.id for row in sent(store)]
    assert len(sent(store)) == 2
