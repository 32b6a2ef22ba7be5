"""Requests that are sent again, and questions that were answered before."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import httpx
import pytest
import sqlalchemy as sa

from lrtuner.lifecycle import JobStatus
from lrtuner.store import idempotency, queue, reading
from lrtuner.store.tables import idempotency_keys
from service import housekeeping
from service.openapi import EXAMPLE_JOB, SMALLEST_JOB

DAY = 86_400.0


@pytest.fixture
def post(client):
    """Post a job with some headers."""

    def send(key=None, query="", headers=None, **changes):
        sent = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        body = json.dumps(SMALLEST_JOB | changes)
        return client.post(f"/v1/jobs{query}", content=body, headers=sent)

    return send


def number_of_jobs(store):
    return len(store.read(reading.list_jobs, limit=10_000).items)


# Idempotency keys -------------------------------------------------------------------------------


def test_the_same_request_makes_one_job(post, store):
    first = post("k")
    store.claim()
    again = post("k")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["status"] == "running"  # as it stands
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert number_of_jobs(store) == 1
    assert post("other").json()["id"] != post().json()["id"] != first.json()["id"]


def test_the_same_key_with_another_body_is_refused(post, store):
    job_id = post("k", seed=1).json()["id"]
    answer = post("k", seed=2)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert job_id in answer.json()["detail"]
    assert number_of_jobs(store) == 1


def test_how_the_body_is_written_does_not_matter(client, post, store):
    job_id = post("k", seed=1).json()["id"]
    turned = json.dumps(dict(reversed((SMALLEST_JOB | {"seed": 1}).items())), indent=3)
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    assert client.post("/v1/jobs", content=turned, headers=headers).json()["id"] == job_id


def test_a_refused_request_leaves_its_key_free(post, store):
    missing = {"source": "upload", "id": f"sha256:{'0' * 64}"}
    assert post("k", dataset=missing).status_code == 422
    assert post("k", seed=-1).status_code == 422
    assert post("k").status_code == 202


def test_a_repeated_request_is_not_checked_again(client, post, store, monkeypatch):
    job_id = post("k").json()["id"]

    def gone(connection, spec, settings):
        raise AssertionError

    monkeypatch.setattr("service.routes.jobs.settled", gone)
    assert post("k").json()["id"] == job_id


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "a\tb"])
def test_a_key_that_cannot_be_is_refused(client, key):
    headers = {"Content-Type": "application/json", "Idempotency-Key": key.encode()}
    answer = client.post("/v1/jobs", content=json.dumps(SMALLEST_JOB), headers=headers)
    assert answer.status_code == 422
    [entry] = answer.json()["errors"]
    assert entry["field"].lower() == "idempotency-key"


def test_keys_of_two_callers_are_two(store):
    job_id = store.enqueue()

    def use(connection, caller):
        earlier = idempotency.reserve(connection, caller=caller, key="k", body="b")
        if earlier is None:
            idempotency.settle(connection, caller=caller, key="k", job_id=job_id)
        return earlier

    assert store.do(use, "a") is None
    assert store.do(use, "b") is None
    assert store.do(use, "a") == idempotency.Earlier("b", job_id, cached=False)


def age_keys(store, seconds):
    older = sa.update(idempotency_keys).values(used_at=idempotency_keys.c.used_at - seconds)
    store.do(lambda connection: connection.execute(older))


def test_a_key_is_kept_for_a_day(post, store):
    first = post("k").json()["id"]
    age_keys(store, DAY - 60)
    housekeeping.tidy_up(store.database, None)
    assert post("k").json()["id"] == first
    age_keys(store, 61)
    second = post("k", seed=9)
    assert second.status_code == 202
    assert second.json()["id"] != first


def test_old_keys_are_removed(post, store):
    post("old")
    age_keys(store, DAY + 1)
    post("new")
    housekeeping.tidy_up(store.database, None)
    kept = store.read(lambda c: list(c.execute(sa.select(idempotency_keys.c.key)).scalars()))
    assert kept == ["new"]


@pytest.mark.parametrize(
    ("requests", "keys"), [(60, 6), pytest.param(1000, 100, marks=pytest.mark.slow)]
)
def test_many_at_once_make_one_job_for_each_key(serve, store, database_url, requests, keys):
    client = serve(database_url=database_url)

    def send(number):
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"k{number % keys}"}
        body = json.dumps(SMALLEST_JOB | {"seed": number % keys})
        answer = client.post("/v1/jobs", content=body, headers=headers)
        assert answer.status_code == 202
        return number % keys, answer.json()["id"], "Idempotent-Replayed" in answer.headers

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(requests)))
    assert number_of_jobs(store) == keys
    assert len({(key, job_id) for key, job_id, _ in answers}) == keys
    assert Counter(replayed for *_, replayed in answers) == {False: keys, True: requests - keys}


@pytest.mark.slow
def test_what_was_accepted_is_there_after_the_api_was_killed(store, database_url):
    """However many requests were under way."""
    command = [sys.executable, "-m", "service", "--port", "0", "--exit-with-parent"]
    environment = os.environ | {"LRTUNER_DATABASE_URL": database_url}
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    accepted = SimpleQueue()

    def send(url):
        with httpx.Client(base_url=url, timeout=30) as client:
            while True:
                try:
                    answer = client.post("/v1/jobs", json=SMALLEST_JOB)
                except httpx.TransportError:
                    return
                assert answer.status_code == 202
                accepted.put(answer.json()["id"])

    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            line = next(line for line in process.stderr if "listening on" in line)
            with ThreadPoolExecutor(9) as pool:
                pool.submit(process.stderr.read)  # or the pipe is full some day
                senders = [pool.submit(send, line.split()[-1]) for _ in range(8)]
                known = [accepted.get(timeout=60) for _ in range(100)]
                process.kill()
                for sender in senders:
                    sender.result(timeout=60)
        finally:
            process.kill()
    while not accepted.empty():
        known.append(accepted.get())
    assert set(known) <= {job.id for job in store.read(reading.list_jobs, limit=10_000).items}


def test_a_key_is_free_again_where_its_request_failed(store):
    """And whoever waits for that request takes it over."""
    use = {"caller": "", "key": "k", "body": "b"}

    def breaks_off(connection, pool):
        assert idempotency.reserve(connection, **use) is None
        waiting.append(pool.submit(store.do, idempotency.reserve, **use))
        raise RuntimeError

    waiting = []
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(RuntimeError):
            store.do(breaks_off, pool)
        assert waiting[0].result(timeout=30) is None


# Answers that are there already -----------------------------------------------------------------


@pytest.fixture
def answered(post, store):
    """A job that has succeeded."""

    def done(**changes):
        job_id = post(**changes).json()["id"]
        store.do(queue.succeed, store.claim(), recommendation="{}")
        return job_id

    return done


def test_a_question_that_was_answered_is_not_asked_again(post, answered, store):
    job_id = answered()
    again = post(name="other", metadata={"commit": "x"}, priority="high", deadline_minutes=5)
    assert (again.status_code, again.headers["X-Cache"]) == (200, "hit")
    assert again.json()["id"] == job_id
    assert again.json()["finished_at"]
    assert again.headers["Location"] == f"/v1/jobs/{job_id}"
    assert "Retry-After" not in again.headers
    assert number_of_jobs(store) == 1


def test_the_newest_answer_counts(post, answered):
    answered()
    assert answered(query="?cache=false") == post().json()["id"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"query": "?cache=false"},
        {"headers": {"Cache-Control": "no-cache"}},
        {"headers": {"Cache-Control": "max-age=0, No-Store"}},
    ],
)
def test_an_old_answer_can_be_refused(post, answered, refusal):
    job_id = answered()
    again = post(**refusal)
    assert (again.status_code, again.headers["X-Cache"]) == (202, "miss")
    assert again.json()["id"] != job_id


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {"succeeded", "expired", "cancelling"}))
def test_only_a_success_is_an_answer(post, store, status):
    job_id = post().json()["id"]
    if status != "queued":
        claim = store.claim()
    if status == "failed":
        store.do(queue.fail, claim, error={"code": "test"})
    if status == "cancelled":
        store.do(queue.cancel, job_id)
        store.do(queue.confirm_cancelled, claim)
    assert store.job(job_id).status == status
    again = post()
    assert (again.status_code, again.headers["X-Cache"]) == (202, "miss")
    assert again.json()["id"] != job_id


def test_an_answer_is_repeated_like_a_job(post, answered, store):
    job_id = answered()
    first = post("k")
    answered(query="?cache=false")  # a newer answer
    again = post("k")
    assert (again.status_code, again.headers["X-Cache"]) == (200, "hit")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"] == job_id
    assert post("k", name="other").json()["code"] == "idempotency_key_reused"


def test_another_question_is_another_job(post, answered):
    answered()
    for change in ({"seed": 1}, {"metrics": ["accuracy"]}, {"search": EXAMPLE_JOB["search"]}):
        assert post(**change).headers["X-Cache"] == "miss"


def test_a_job_on_files_is_never_answered_from_the_cache(start, store, database_url, tmp_path):
    client = start(database_url=database_url, data_root=tmp_path)
    dataset = {"source": "path", "path": "data.csv"}
    client.submit(dataset=dataset)
    store.do(queue.succeed, store.claim(), recommendation="{}")
    answer = client.submit(dataset=dataset)
    assert (answer.status_code, answer.headers["X-Cache"]) == (202, "miss")
