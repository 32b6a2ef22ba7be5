"""Waiting for jobs: ETag and `wait`, `Prefer`, and server-sent events."""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lrtuner.client import Client
from lrtuner.lifecycle import JobStatus
from lrtuner.store import queue
from service import watching
from service.middleware import Stream, Streams
from service.openapi import SMALLEST_JOB
from service.routes.evidence import event_chunk
from service.storage import Storage
from service.watching import RECENT_EVENTS, Watcher

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.02)


def told(store, claim, number=1):
    """So many more events of a job."""

    def add(connection):
        for index in range(number):
            queue.add_event(connection, claim, kind="n", phase=None, message="", data={"i": index})

    store.do(add)


@pytest.fixture
def in_a_moment():
    """Do something while the test waits for its effect."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def when_watched(client, do):
    """Do it once somebody waits."""
    until(lambda: client.app.state.watcher._feeds)
    return do()


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# Long-polls -------------------------------------------------------------------------------------


def test_a_wait_ends_with_the_next_change(client, store, in_a_moment):
    job_id = store.enqueue()
    claimed = in_a_moment(when_watched, client, store.claim)
    answer = client.get(f"/v1/jobs/{job_id}?wait=60")
    assert (answer.status_code, answer.json()["status"]) == (200, "running")

    def progress():
        store.do(queue.set_progress, claimed.result(), progress={"n": 1})

    done = in_a_moment(when_watched, client, progress)
    known = {"If-None-Match": answer.headers["ETag"]}
    answer = client.get(f"/v1/jobs/{job_id}?wait=60", headers=known)
    assert answer.json()["progress"] == {"n": 1}
    done.result()
    assert not client.app.state.watcher._feeds


def test_a_wait_ends_in_time_with_what_there_is(client, store):
    url = f"/v1/jobs/{store.enqueue()}"
    answer = client.get(f"{url}?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    known = {"If-None-Match": answer.headers["ETag"]}
    assert client.get(f"{url}?wait=1", headers=known).status_code == 304


def test_what_has_changed_already_is_not_waited_for(client, store):
    job_id = store.enqueue()
    etag = client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    claim = store.claim()
    answer = client.get(f"/v1/jobs/{job_id}?wait=60", headers={"If-None-Match": etag})
    assert answer.json()["status"] == "running"
    store.do(queue.succeed, claim, recommendation="{}")
    etag = client.get(f"/v1/jobs/{job_id}?wait=60").headers["ETag"]  # it never changes again
    known = {"If-None-Match": etag}
    assert client.get(f"/v1/jobs/{job_id}?wait=60", headers=known).status_code == 304


@pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5", ""])
def test_a_wait_that_cannot_be_is_refused(sqlite_client, wait):
    answer = sqlite_client.get(f"/v1/jobs/job_x?wait={wait}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "wait"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=60", "wait=60"), ('respond-async, Wait="99"; x=1', "wait=60")],
)
def test_a_short_job_can_be_submitted_and_waited_for(client, store, in_a_moment, prefer, applied):
    def work():
        store.do(queue.succeed, store.claim(), recommendation="{}")

    done = in_a_moment(when_watched, client, work)
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    answer = client.post("/v1/jobs", content=json.dumps(SMALLEST_JOB), headers=headers)
    done.result()
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["Preference-Applied"] == applied
    assert answer.headers["X-Cache"] == "miss"


def test_a_long_job_is_accepted_after_the_preferred_wait(client):
    headers = {"Content-Type": "application/json", "Prefer": "wait=1"}
    answer = client.post("/v1/jobs", content=json.dumps(SMALLEST_JOB), headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("prefer", ["wait=", "wait=-1", "wait=soon", "handling=strict", "wait=1e3"])
def test_a_preference_that_makes_no_sense_is_ignored(sqlite_client, prefer):
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    answer = sqlite_client.post("/v1/jobs", content=json.dumps(SMALLEST_JOB), headers=headers)
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


# Streams ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def streamed(client, job_id, after=None):
    """The lines of a stream of a served API."""
    inner = client.send.__self__
    headers = STREAM | ({} if after is None else {"Last-Event-ID": str(after)})
    with inner.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        yield answer


def parsed(text):
    """Blocks of a stream, each a dictionary of its fields."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in lines if line) for lines in blocks]


def read_all(client, job_id, after=None):
    with streamed(client, job_id, after) as answer:
        return answer.status_code, parsed(answer.read().decode())


def finished_job(store, number):
    job_id = store.enqueue()
    claim = store.claim()
    told(store, claim, number)
    store.do(queue.succeed, claim, recommendation="{}")
    return job_id


def test_a_stream_tells_what_the_page_tells_and_ends_with_the_job(serve, store, database_url):
    client = serve(database_url=database_url)
    job_id = finished_job(store, 3)
    page = client.get(f"/v1/jobs/{job_id}/events").json()["items"]
    with streamed(client, job_id) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Length" not in answer.headers
        first, *events, last = parsed(answer.read().decode())
    assert int(first["retry"]) > 0
    assert [json.loads(event["data"]) for event in events] == page
    assert [event["id"] for event in events] == [str(each["seq"]) for each in page]
    assert [event["event"] for event in events] == [each["kind"] for each in page]
    assert last == {"event": "job.finished", "data": '{"status":"succeeded"}'}
    assert read_all(client, job_id, after=len(page)) == (204, [])


def test_events_come_as_they_happen_to_everybody(serve, store, database_url):
    client = serve(database_url=database_url)
    job_id = store.enqueue()
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read_all, client, job_id) for _ in range(8)]
        claim = store.claim()
        for _ in range(20):
            told(store, claim)
        store.do(queue.succeed, claim, recommendation="{}")
        numbers = [[b["id"] for b in reader.result()[1] if "id" in b] for reader in readers]
    assert numbers == [[str(n) for n in range(1, 24)]] * 8


def test_a_stream_cut_at_every_event_has_no_gap_and_nothing_twice(serve, store, database_url):
    client = serve(database_url=database_url)
    job_id = store.enqueue()
    claim = store.claim()
    seen, after = [], None
    for rest in itertools.count(12, -1):
        with streamed(client, job_id, after) as answer:
            if answer.status_code == 204:
                break
            if rest > 0:
                told(store, claim)
            if rest == 0:
                store.do(queue.succeed, claim, recommendation="{}")
            for line in answer.iter_lines():  # cut as soon as one has come
                if line.startswith("id: "):
                    after = line.removeprefix("id: ")
                elif line.startswith("data: ") and "seq" in line:
                    seen.append(json.loads(line.removeprefix("data: "))["seq"])
                    break
    assert seen == list(range(1, 16))


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30])
def test_a_bad_place_to_resume_is_refused(sqlite_client, cursor):
    answer = sqlite_client.get("/v1/jobs/job_x/events", headers=STREAM | {"Last-Event-ID": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        ("text/event-stream", 200, "text/event-stream"),
        ("text/event-stream, */*;q=0.1", 200, "text/event-stream"),
        ("*/*", 200, "application/json"),
        ("", 200, "application/json"),
        ("application/*", 200, "application/json"),
        ("application/json, text/event-stream", 200, "application/json"),
        ("text/html", 406, "application/problem+json"),
        ("text/event-stream;q=0", 406, "application/problem+json"),
    ],
)
def test_the_form_that_is_wanted(serve, store, sqlite_url, open_store, accept, status, media_type):
    client = serve(database_url=sqlite_url)
    with open_store(sqlite_url).writing() as connection:
        job_id = queue.enqueue(connection, spec={}, name=None, metadata={})
        queue.cancel(connection, job_id)
    answer = client.get(f"/v1/jobs/{job_id}/events", headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers["Content-Type"].partition(";")[0] == media_type


def test_unknown_jobs_and_heads(serve, store, database_url):
    client = serve(database_url=database_url)
    job_id = store.enqueue()
    url = f"/v1/jobs/{job_id}"
    assert client.get("/v1/jobs/job_x/events", headers=STREAM).status_code == 404
    for path, headers in ((url, {}), (f"{url}/events", STREAM), (f"{url}/events", {})):
        answer = client.request("HEAD", path, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
    assert client.request("HEAD", url).headers["ETag"] == client.get(url).headers["ETag"]
    assert client.request("HEAD", "/v1/jobs/job_x").status_code == 404


def test_streams_and_waits_end_when_the_service_shuts_down(serve, store, sqlite_url, open_store):
    client = serve(database_url=sqlite_url)
    with open_store(sqlite_url).writing() as connection:
        job_id = queue.enqueue(connection, spec={}, name=None, metadata={})
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(read_all, client, job_id)
        wait = pool.submit(client.get, f"/v1/jobs/{job_id}?wait=60")
        watcher = client.app.state.watcher
        until(lambda: [feed.watchers for feed in watcher._feeds.values()] == [2])
        client.stop()
        status, blocks = stream.result(timeout=10)
        assert wait.result(timeout=10).json()["status"] == "queued"
    assert (status, blocks[1]["id"]) == (200, "1")
    assert int(blocks[-1]["retry"]) >= 1000


def test_many_streams_take_neither_threads_nor_connections(serve, store, database_url):
    client = serve(database_url=database_url)
    job_ids = [store.enqueue() for _ in range(4)]
    with contextlib.ExitStack() as stack:

        def opened(number):
            for index in range(number):
                answer = stack.enter_context(streamed(client, job_ids[index % 4]))
                next(line for line in answer.iter_lines() if line.startswith("id"))
            return threading.active_count()

        before = opened(20)
        assert opened(60) <= before + 2  # those that deliver webhooks come and go
        database = client.app.state.storage.database
        assert database._reader.pool.checkedout() <= 1  # the look at all of them


def test_the_client_follows_a_stream(serve, store, database_url, monkeypatch):
    client = serve(database_url=database_url)
    monkeypatch.setattr(watching, "LONGEST_STREAM_SECONDS", 0.1)  # so it has to be resumed
    job_id = store.enqueue()
    seen, looks = [], []
    url = str(client.get("/healthz").request.url.copy_with(path="/"))
    with Client(url) as follower, ThreadPoolExecutor(1) as pool:
        told_of = pool.submit(
            follower.wait,
            job_id,
            timeout=60,
            on_event=lambda event: seen.append(event.seq),
            on_job=looks.append,
        )
        claim = store.claim()
        for _ in range(10):
            told(store, claim)
            last = store.job(job_id).event_seq
            until(lambda last=last: seen and seen[-1] == last)
        store.do(queue.succeed, claim, recommendation="{}")
        assert told_of.result().status == "succeeded"
    assert seen == list(range(1, 14))


# The watcher ------------------------------------------------------------------------------------


@pytest.fixture
def watcher(store):
    return Watcher(Storage(store.database), event_chunk)


def numbers(chunk):
    return [int(block["id"]) for block in parsed(chunk.decode()) if "id" in block]


def test_who_cannot_keep_up_misses_nothing_and_costs_nothing(store, watcher):
    job_id = store.enqueue()
    claim = store.claim()
    state = store.job(job_id).state

    async def slow():
        stream = watcher.stream(job_id, state, after=0)
        seen = numbers(await anext(stream)) + numbers(await anext(stream))
        for _ in range(3):
            told(store, claim, RECENT_EVENTS - 1)
            await watcher.look()
        told(store, claim, 3 * RECENT_EVENTS)
        await watcher.look()
        told(store, claim, 2)
        await watcher.look()
        [feed] = watcher._feeds.values()
        assert len(feed.recent) <= RECENT_EVENTS
        last = store.job(job_id).event_seq
        while not seen or seen[-1] < last:
            seen += numbers(await anext(stream))
        await stream.aclose()
        return seen, last

    seen, last = asyncio.run(slow())
    assert seen == list(range(1, last + 1))
    assert not watcher._feeds


def test_an_outage_of_the_database_ends_no_wait(store, watcher, monkeypatch):
    job_id = store.enqueue()
    state = store.job(job_id).state

    async def through():
        waiting = asyncio.create_task(watcher.finish(job_id, state, 60))
        looking = asyncio.create_task(watcher.run())
        with monkeypatch.context() as patch:
            patch.setattr(watcher, "_states", None)
            await asyncio.sleep(0.1)
            assert not waiting.done()
        store.do(queue.cancel, job_id)
        await waiting
        looking.cancel()

    asyncio.run(asyncio.wait_for(through(), 30))


def test_a_quiet_stream_is_kept_alive(store, watcher, monkeypatch):
    monkeypatch.setattr(watching, "KEEPALIVE_SECONDS", 0.01)
    job_id = store.enqueue()

    async def listen():
        stream = watcher.stream(job_id, store.job(job_id).state, after=1)
        chunks = [await anext(stream) for _ in range(3)]
        await stream.aclose()
        return chunks

    assert asyncio.run(listen())[1:] == [b": keepalive\n\n"] * 2


def test_a_stream_ends_now_and_then(store, watcher, monkeypatch):
    monkeypatch.setattr(watching, "LONGEST_STREAM_SECONDS", 0.0)
    job_id = store.enqueue()

    async def listen():
        return [chunk async for chunk in watcher.stream(job_id, store.job(job_id).state, after=0)]

    assert all(chunk.startswith(b"retry: ") for chunk in asyncio.run(listen()))


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.EXPIRED}))
def test_a_stream_of_a_job_in_every_status(store, watcher, status):
    job_id, _ = store.job_in(status)

    async def listen():
        chunks = []
        stream = watcher.stream(job_id, store.job(job_id).state, after=0)
        async for chunk in stream:
            chunks += parsed(chunk.decode())
            if len(chunks) == store.job(job_id).event_seq + 1 + status.is_finished:
                break
        await stream.aclose()
        return chunks

    chunks = asyncio.run(listen())
    assert (chunks[-1].get("event") == "job.finished") == status.is_finished


def test_an_open_stream_keeps_nothing_of_what_led_to_it():
    left = []

    async def chunks():
        left.append(set(scope))
        yield b""

    async def endpoint(scope, _receive, send):
        scope["stack"] = object()
        await Stream(chunks(), "text/event-stream", {})(scope, _receive, send)

    async def nothing(*_message):
        await asyncio.sleep(0)
        return {"type": "http.request"}

    scope = {"type": "http", "path": "/"}
    asyncio.run(Streams(endpoint)(scope, nothing, nothing))
    assert left == [{"type", "path"}]
