"""Messages reach their receivers: at least once, signed, under one id, whoever dies on the way."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from prometheus_client import CollectorRegistry

from lrtuner.lifecycle import JobStatus
from lrtuner.store import deliveries, queue
from lrtuner.webhook import Webhook
from service.delivering import DELAYS, Delivering, outcome_of, tries_counter
from service.sending import Answer
from service.settings import Settings
from tests.conformance.test_stored_deliveries import let_time_pass, sent
from tests.service.receiver import HERE, SECRET, receiving

OLD_SECRET = "whsec_" + "B" * 32


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


def watched(store, url, secret=SECRET, name=None):
    job_id = store.enqueue(name=name, metadata={"commit": "abc"})
    store.do(deliveries.subscribe, job_id, Webhook(url=url, secret=secret))
    return job_id


class Sending:
    """The sending process, without the API around it."""

    def __init__(self, store, **settings):
        self.store = store
        self.registry = CollectorRegistry()
        options = {"webhook_allow": HERE, "public_url": "https://lrtuner.example.org"} | settings
        settings = Settings(database_url=str(store.database.url), **options)
        self.delivering = Delivering(store.database, settings, tries_counter(self.registry))

    def until(self, condition):
        """Run it until the condition holds of all messages."""

        async def run():
            running = asyncio.create_task(self.delivering.run(pause=0.005))
            while not condition(sent(self.store)) and not running.done():
                await asyncio.sleep(0.005)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(asyncio.wait_for(run(), 30))

    def until_tried(self, times=1):
        self.until(lambda rows: all(row.num_tries >= times for row in rows))

    def counted(self, outcome):
        name = "lrtuner_webhook_tries_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


def received(receiver):
    found = []
    while not receiver.arrived.empty():
        found.append(receiver.arrived.get())
    return found


def test_what_is_told_of_a_job_that_succeeds(store, receiver):
    job_id = watched(store, receiver.url, name="resnet")
    sending = Sending(store)
    claim = store.claim()
    sending.until_tried()
    store.do(queue.succeed, claim, recommendation='{"verdict": {"status": "confirmed"}}')
    sending.until_tried()
    started, succeeded = (request.verified() for request in received(receiver))
    assert (started["type"], succeeded["type"]) == ("job.started", "job.succeeded")
    own = f"https://lrtuner.example.org/v1/jobs/{job_id}"
    job = succeeded["data"]
    assert job["id"] == job_id
    assert (job["status"], job["name"], job["metadata"]) == (
        "succeeded", "resnet", {"commit": "abc"},
    )  # fmt: skip
    assert job["verdict"] == {"status": "confirmed"}
    assert job["links"]["recommendation"] == f"{own}/recommendation"
    assert job["finished_at"] >= job["started_at"] >= job["queued_at"]
    assert succeeded["timestamp"] >= job["finished_at"]
    job = started["data"]
    assert (job["status"], job["verdict"], job["finished_at"]) == ("running", None, None)
    assert [row.status for row in sent(store)] == ["delivered"] * 2
    assert sending.counted("delivered") == 2


def test_a_message_says_the_same_whenever_it_is_sent(store, receiver):
    """That of the start, sent when all is over, tells of the start."""
    watched(store, receiver.url)
    claim = store.claim()
    Sending(store).until_tried()
    store.do(queue.fail, claim, error={"code": "nothing_trained", "message": "all diverged"})
    [first] = received(receiver)
    store.do(deliveries.redeliver, first.id)
    Sending(store).until_tried()
    told = {request.id: request for request in received(receiver)}
    assert told.pop(first.id).body == first.body
    [failed] = told.values()
    assert failed.verified()["data"]["error"]["code"] == "nothing_trained"
    assert failed.verified()["data"]["error"]["detail"] == "all diverged"


@pytest.mark.parametrize("failures", [1, 4])
def test_a_receiver_that_fails_is_told_again_under_the_same_id(store, receiver, failures):
    receiver.answers = [500, 302, 404, 503][:failures]
    watched(store, receiver.url)
    store.claim()
    sending = Sending(store)
    for number in range(1, failures + 1):
        sending.until_tried(number)
        [row] = sent(store)
        assert row.status == "pending"
        wait = row.next_try_at - row.tries[-1]["at"]
        assert DELAYS[number] <= wait <= 1.1 * DELAYS[number] + 30
        let_time_pass(store, next_try_at=wait + 60)
    sending.until_tried(failures + 1)
    requests = received(receiver)
    assert len(requests) == failures + 1
    assert len({request.id for request in requests}) == 1
    assert all(request.verified()["type"] == "job.started" for request in requests)
    [row] = sent(store)
    assert row.status == "delivered"
    assert [tried["status"] for tried in row.tries] == [*[500, 302, 404, 503][:failures], 200]
    assert (sending.counted("retried"), sending.counted("delivered")) == (failures, 1)


def test_each_secret_signs(store, receiver):
    watched(store, receiver.url, secret=None)
    store.claim()
    Sending(store, webhook_secret=f"{SECRET} {OLD_SECRET}").until_tried()
    [request] = received(receiver)
    for secret in (SECRET, OLD_SECRET):
        assert request.verified(secret)["type"] == "job.started"
    with pytest.raises(Exception, match="signature"):
        request.verified("whsec_" + "C" * 32)


def test_the_secret_of_the_job_comes_before_that_of_the_service(store, receiver):
    watched(store, receiver.url, secret=OLD_SECRET)
    store.claim()
    Sending(store, webhook_secret=SECRET).until_tried()
    [request] = received(receiver)
    assert request.verified(OLD_SECRET)
    with pytest.raises(Exception, match="signature"):
        request.verified(SECRET)


def test_nothing_is_sent_unsigned(store, receiver):
    watched(store, receiver.url, secret=None)
    store.claim()
    Sending(store).until_tried()
    assert received(receiver) == []
    [row] = sent(store)
    assert "LRTUNER_WEBHOOK_SECRET" in row.tries[0]["error"]
    assert row.status == "pending"


def test_a_receiver_that_is_gone_is_left_alone(store, receiver):
    receiver.answers = [410]
    watched(store, receiver.url)
    claim = store.claim()
    sending = Sending(store)
    sending.until_tried()
    store.do(queue.succeed, claim, recommendation="{}")
    assert [row.status for row in sent(store)] == ["failed"]
    assert sending.counted("failed") == 1


def test_an_address_that_is_not_public_is_given_up_at_once(store, receiver, caplog):
    watched(store, receiver.url)
    store.claim()
    sending = Sending(store, webhook_allow="")
    sending.until_tried()
    [row] = sent(store)
    assert row.status == "failed"
    assert "may not be sent" in row.tries[0]["error"]
    assert received(receiver) == []
    assert sending.counted("refused") == 1


def test_a_slow_receiver_holds_up_nobody_else(store, receiver):
    answer = threading.Event()
    receiver.answers = [answer]
    with receiving() as quick:
        watched(store, receiver.url)
        store.claim()
        sending = Sending(store)

        def others_are_told(rows):
            if not receiver.arrived.empty() and len(rows) == 1:
                watched(store, quick.url)
                store.claim()
            return [row.status for row in rows] == ["pending", "delivered"]

        sending.until(others_are_told)
        answer.set()
        assert len(received(quick)) == 1


def test_nothing_secret_in_the_log(store, receiver, caplog):
    caplog.set_level("DEBUG")
    receiver.answers = [500]
    watched(store, f"{receiver.url}?token=hush")
    store.claim()
    Sending(store).until_tried()
    assert "msg_" in caplog.text
    for hidden in ("hush", SECRET, SECRET[6:]):
        assert hidden not in "".join(r.getMessage() for r in caplog.records if r.name[0] in "ls")


def test_an_error_of_ours_is_logged_and_the_others_are_sent(store, receiver, monkeypatch, caplog):
    for _ in range(2):
        watched(store, receiver.url)
        store.claim()
    first = sent(store)[0]
    sending = Sending(store)
    good = sending.delivering._body
    monkeypatch.setattr(
        sending.delivering, "_body", lambda taken: good(taken) if taken.id != first.id else 1 / 0
    )
    sending.until(lambda rows: rows[1].status == "delivered")
    assert "ZeroDivisionError" in caplog.text
    assert sent(store)[0].status == "pending"  # its lease runs out


def test_a_database_that_fails_is_asked_again(store, receiver, monkeypatch):
    watched(store, receiver.url)
    store.claim()
    asked = []
    good = deliveries.is_due

    def fails_at_first(connection):
        asked.append(1)
        return good(connection) if len(asked) > 2 else 1 / 0

    monkeypatch.setattr("service.delivering.deliveries.is_due", fails_at_first)
    Sending(store).until_tried()
    assert len(received(receiver)) == 1


@pytest.mark.parametrize(
    ("answer", "tries", "status", "delay"),
    [
        (Answer(0, status=200), 0, "delivered", None),
        (Answer(0, status=299), 9, "delivered", None),
        (Answer(0, status=410), 0, "failed", None),
        (Answer(0, error="x", refused=True), 0, "failed", None),
        (Answer(0, error="x"), 0, "pending", 5),
        (Answer(0, status=100), 0, "pending", 5),
        (Answer(0, status=301), 1, "pending", 300),
        (Answer(0, status=500), 8, "pending", 86_400),
        (Answer(0, status=500), 9, "failed", None),
        (Answer(0, status=500), 99, "failed", None),
        (Answer(0, status=503, retry_after=60.0), 0, "pending", 60),
        (Answer(0, status=429, retry_after=1.0), 1, "pending", 300),
        (Answer(0, status=429, retry_after=1e9), 0, "pending", 86_400),
        (Answer(0, status=500, retry_after=60.0), 0, "pending", 5),
        (Answer(0, status=503, retry_after=60.0), 9, "failed", None),
    ],
)
def test_what_follows_from_an_answer(answer, tries, status, delay):
    outcome = outcome_of(answer, tries, jitter=lambda: 0.0)
    assert (outcome.status, outcome.delay_seconds) == (status, delay)
    assert outcome.gone == (answer.status == 410)


def test_not_all_come_back_at_once():
    delays = [outcome_of(Answer(0, status=500), 1).delay_seconds for _ in range(50)]
    assert 300 <= min(delays) < max(delays) <= 330


# processes ----------------------------------------------------------------------------------------


def api(url):
    environment = os.environ | {
        "LRTUNER_DATABASE_URL": url,
        "LRTUNER_WEBHOOK_ALLOW": HERE,
        "LRTUNER_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "service", "--port", "0", "--exit-with-parent"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_an_api_that_is_killed_while_it_sends(store, database_url, receiver):
    """What was committed is delivered by whoever comes next, under the same id."""
    never = threading.Event()
    receiver.answers = [never]
    job_id = watched(store, receiver.url)
    store.do(queue.succeed, store.claim(), recommendation="{}")
    with api(database_url) as first:
        try:
            ids = {receiver.arrived.get(timeout=60).id for _ in range(2)}
        finally:
            first.send_signal(signal.SIGKILL)
    never.set()
    pending = {row.id for row in sent(store) if row.status == "pending"}
    assert pending <= ids
    assert pending
    let_time_pass(store, next_try_at=120)  # its lease runs out
    with api(database_url) as second:
        try:
            wait_for(lambda: all(row.status == "delivered" for row in sent(store)))
        finally:
            second.stdin.close()
    again = {request.id: request.verified()["type"] for request in received(receiver)}
    assert pending == set(again)
    assert store.job(job_id).status is JobStatus.SUCCEEDED


def test_two_senders_share_the_work(store, receiver):
    for _ in range(30):
        watched(store, receiver.url)
        store.claim()
    sending = [Sending(store) for _ in range(2)]

    async def both():
        running = [asyncio.create_task(s.delivering.run(pause=0.005)) for s in sending]
        while any(row.status == "pending" for row in sent(store)):
            await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(both(), 60))
    ids = [request.id for request in received(receiver)]
    assert len(ids) == len(set(ids)) == 30
    assert sum(s.counted("delivered") for s in sending) == 30
