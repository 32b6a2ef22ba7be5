"""The client against scripted answers, on a clock that only sleeping moves."""

import json

import httpx
import pytest

from lrtuner.client import (
    Client,
    ProblemError,
    ServerUnreachableError,
    WaitTimeoutError,
)
from lrtuner.errors import InvalidInputError
from lrtuner.lifecycle import JobStatus
from tests.service.receiver import AUTHORITY, receiving


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.naps = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client_of(clock):
    clients = []

    def make(handler, url="http://tuner.example:8470", **options):
        transport = httpx.MockTransport(handler)
        options = {"transport": transport, "sleep": clock.sleep, "clock": clock, **options}
        clients.append(Client(url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def job(status="queued", **more):
    return {"id": "job_1", "status": status, **more}


def answers(*script):
    """A handler that plays `script` and repeats its end; what it was asked is in `.requests`."""

    def handle(request):
        handle.requests.append(request)
        step = script[min(len(handle.requests), len(script)) - 1]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else httpx.Response(200, json=step)

    handle.requests = []
    return handle


def problem(status, detail="no", headers=None, **more):
    body = json.dumps({"status": status, "title": "t", "detail": detail, **more})
    headers = {"Content-Type": "application/problem+json", **(headers or {})}
    return httpx.Response(status, content=body, headers=headers)


# Submitting and retrying ------------------------------------------------------------------------


def test_a_submit_that_is_repeated_carries_one_idempotency_key(client_of):
    handler = answers(
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut off"),
        problem(503),
        httpx.Response(202, json=job()),
    )
    client = client_of(handler)
    assert client.submit({"seed": 1}).status is JobStatus.QUEUED
    keys = {request.headers["Idempotency-Key"] for request in handler.requests}
    assert len(handler.requests) == 4
    assert len(keys) == 1
    client.submit({"seed": 1})
    assert handler.requests[-1].headers["Idempotency-Key"] not in keys


def test_the_spec_arrives_as_it_is(client_of):
    spec = {"name": "Grüße \ud800 \n", "seed": 2**70, "deep": [{"x": 1e-05}]}
    handler = answers(job())
    client_of(handler).submit(spec)
    assert json.loads(handler.requests[0].content) == spec
    assert handler.requests[0].headers["Content-Type"] == "application/json"


def test_retries_end_and_say_who_did_not_answer(client_of, clock):
    handler = answers(httpx.ConnectError("connection refused"))
    told = []
    with pytest.raises(ServerUnreachableError, match=r"tuner\.example:8470 .*connection refused"):
        client_of(handler, patience=6.0, on_retry=told.append).job("job_1")
    assert sum(clock.naps) <= 6.0
    assert 4 <= len(handler.requests) <= 10
    assert len(told) == len(clock.naps)
    assert all(later >= earlier for earlier, later in zip(clock.naps, clock.naps[2:], strict=False))


def test_a_refusal_is_not_repeated(client_of, clock):
    handler = answers(problem(422))
    with pytest.raises(ProblemError):
        client_of(handler).submit({})
    assert len(handler.requests) == 1
    assert clock.naps == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_is_obeyed(client_of, clock, status):
    handler = answers(problem(status, headers={"Retry-After": "4"}), job())
    client_of(handler).job("job_1")
    assert clock.naps == [4.0]


def test_a_service_that_stays_busy_is_a_problem_in_the_end(client_of):
    with pytest.raises(ProblemError, match="database") as caught:
        client_of(answers(problem(503, "the database is away", request_id="req_7"))).job("job_1")
    assert caught.value.problem.status == 503
    assert "req_7" in str(caught.value)


# Answers ----------------------------------------------------------------------------------------


def test_a_problem_prints_its_detail_and_every_message(client_of):
    messages = ["training.epochs: 0 is not allowed", "seed: -1 is not allowed"]
    errors = [{"field": m.split(":")[0], "pointer": "/x", "message": m} for m in messages]
    with pytest.raises(ProblemError) as caught:
        client_of(answers(problem(422, "2 fields are not valid", errors=errors))).submit({})
    assert str(caught.value).splitlines() == [
        "2 fields are not valid",
        *(f"  {m}" for m in messages),
    ]


def test_a_problem_does_not_say_things_twice(client_of):
    errors = [{"message": "limit: 0 is not allowed"}]
    with pytest.raises(ProblemError) as caught:
        client_of(answers(problem(422, "limit: 0 is not allowed.", errors=errors))).jobs()
    assert str(caught.value) == "limit: 0 is not allowed."


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>It works!</html>"),
        httpx.Response(200, json=["a list"]),
        httpx.Response(200, json={"id": "job_1", "status": "on fire"}),
        httpx.Response(200, content=b"\xff\xfe"),
    ],
)
def test_an_answer_of_something_else_is_no_answer(client_of, response):
    with pytest.raises(ServerUnreachableError, match="does not answer like an lrtuner service"):
        client_of(answers(response)).job("job_1")


def test_an_error_page_of_something_else_is_still_a_problem(client_of):
    with pytest.raises(ProblemError, match="answered 404 Not Found"):
        client_of(answers(httpx.Response(404, text="<html>"))).job("job_1")


def test_a_redirect_is_shown_and_not_followed(client_of):
    handler = answers(httpx.Response(308, headers={"Location": "https://elsewhere.example/v1"}))
    with pytest.raises(ProblemError, match=r"redirect to https://elsewhere\.example"):
        client_of(handler, api_key="secret").job("job_1")
    assert len(handler.requests) == 1


def test_what_a_newer_service_adds_is_kept(client_of):
    answer = job("running", progress={"phase": "search", "eta": 3}, colour="red")
    found = client_of(answers(answer)).job("job_1")
    assert found.model_dump(mode="json", exclude_unset=True) == answer


# URL and key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "localhost:8470", "ftp://host", "http://", "http://host:port", "http://host:99999"]
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(InvalidInputError, match="URL"):
        Client(url)


def test_a_password_in_the_url_is_shown_nowhere(client_of):
    client = client_of(answers(httpx.ConnectError("no")), url="http://me:hunter2@host:1/tuner/")
    assert client.url == "http://host:1/tuner"
    with pytest.raises(ServerUnreachableError) as caught:
        client.job("job_1")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidInputError) as refused:
        Client("me:hunter2@host")
    assert "hunter2" not in str(refused.value)


def test_the_service_may_live_below_a_path_and_ids_stay_in_theirs(client_of):
    handler = answers(job())
    client_of(handler, url="https://host/tuner/").job("../../admin?x=1")
    assert handler.requests[0].url.raw_path == b"/tuner/v1/jobs/..%2F..%2Fadmin%3Fx%3D1"


def test_the_environment_names_service_and_key(clock):
    handler = answers(job())
    environ = {"LRTUNER_URL": "http://other:1", "LRTUNER_API_KEY": "lrt_secret"}
    transport = httpx.MockTransport(handler)
    with Client.from_environment(environ, transport=transport, clock=clock) as client:
        client.job("job_1")
    assert handler.requests[0].url.host == "other"
    assert handler.requests[0].headers["Authorization"] == "Bearer lrt_secret"


def test_without_a_key_none_is_sent(clock):
    handler = answers(job())
    environ = {"LRTUNER_URL": "", "LRTUNER_API_KEY": ""}
    transport = httpx.MockTransport(handler)
    with Client.from_environment(environ, transport=transport, clock=clock) as client:
        client.job("job_1")
    assert str(handler.requests[0].url) == "http://127.0.0.1:8470/v1/jobs/job_1"
    assert "Authorization" not in handler.requests[0].headers


@pytest.mark.parametrize("key", ["sec\nret", "secret ", "secrét", "sec\x00ret"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key):
    with pytest.raises(InvalidInputError) as caught:
        Client(api_key=key)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(("url", "uses"), [("http://127.0.0.1:1", False), ("http://far:1", True)])
def test_a_proxy_is_for_other_machines(monkeypatch, url, uses):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    with Client(url) as client:
        assert client._transport.http.trust_env is uses


# Pages ------------------------------------------------------------------------------------------


def test_jobs_are_collected_over_pages(client_of):
    handler = answers(
        {"items": [job()] * 100, "has_more": True, "next_after": "c1"},
        {"items": [job()] * 50, "has_more": True, "next_after": "c2"},
    )
    found = client_of(handler).jobs([JobStatus.QUEUED, JobStatus.RUNNING], limit=150)
    assert len(found) == 150
    queries = [request.url.params for request in handler.requests]
    assert [query.get("after") for query in queries] == [None, "c1"]
    assert [query["limit"] for query in queries] == ["100", "50"]
    assert queries[1].get_list("status") == ["queued", "running"]


def test_events_are_collected_over_pages(client_of):
    def page(*numbers, more):
        return {"items": [{"seq": n, "kind": "k"} for n in numbers], "has_more": more}

    handler = answers(page(4, 5, more=True), page(6, more=False))
    assert [e.seq for e in client_of(handler).events("job_1", after=3)] == [4, 5, 6]
    assert [r.url.params["after"] for r in handler.requests] == ["3", "5"]


def test_a_download_is_passed_on_byte_by_byte(client_of):
    content = b'{"peak_lr": 1.0e-05}\r\n\xff'
    handler = answers(httpx.Response(200, content=content))
    assert client_of(handler).recommendation("job_1", "yaml") == content
    assert handler.requests[0].url.params["format"] == "yaml"


@pytest.mark.parametrize(("cache", "cached"), [("hit", True), ("miss", False)])
def test_an_answer_that_was_there_says_so(client_of, cache, cached):
    handler = answers(httpx.Response(202, json=job("succeeded"), headers={"X-Cache": cache}))
    client = client_of(handler)
    found = client.submit({})
    assert found.cached is cached
    assert "cached" not in found.model_dump(mode="json")
    client.submit({}, use_cache=False)
    queries = [dict(request.url.params) for request in handler.requests]
    assert queries == [{}, {"cache": "false"}]


def test_the_latest_is_asked_for_by_name_and_labels(client_of):
    handler = answers(httpx.Response(200, content=b"{}"))
    assert client_of(handler).latest("resnet", {"branch": "a/b"}) == b"{}"
    params = dict(handler.requests[0].url.params)
    assert params == {"metadata[branch]": "a/b", "format": "json", "name": "resnet"}


def test_certificates_that_cannot_be_read_are_said(monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("none.pem", "ca.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(InvalidInputError, match="SSL_CERT_FILE"):
            Client("https://far.example")


def test_who_is_not_believed_is_said_with_what_to_do(client_of):
    handler = answers(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] unknown issuer"))
    with pytest.raises(ServerUnreachableError, match="SSL_CERT_FILE"):
        client_of(handler).job("job_1")


def test_an_authority_of_ones_own_is_believed(monkeypatch):
    with receiving(tls=True) as server:
        url = f"https://localhost:{server.server_port}"
        with Client(url, patience=0) as client, pytest.raises(ServerUnreachableError) as caught:
            client.submit({})
        assert "SSL_CERT_FILE" in str(caught.value)
        assert server.arrived.empty()
        monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
        with Client(url, patience=0) as client, pytest.raises(ServerUnreachableError) as caught:
            client.submit({})
        assert "does not answer like an lrtuner service" in str(caught.value)
        assert server.arrived.get(timeout=10).path == "/v1/jobs"


# Waiting ----------------------------------------------------------------------------------------


class Streaming:
    """A job with `last` events, whose stream breaks off as the script says; 0 gives no stream."""

    def __init__(self, last, *cuts):
        self.last = last
        self.cuts = list(cuts)
        self.at = 0
        self.resumed = []
        self.waits = []

    def __call__(self, request):
        if request.headers.get("Accept") == "text/event-stream":
            return self._stream(int(request.headers["Last-Event-ID"]))
        if request.url.path.endswith("/events"):
            after = int(request.url.params["after"])
            events = [self._event(n) for n in range(after + 1, self.at + 1)]
            return httpx.Response(200, json={"items": events, "has_more": False})
        if "wait" in request.url.params:
            self.waits.append(request.headers["If-None-Match"])
            self.at = min(self.at + 1, self.last)
        status = "succeeded" if self.at == self.last else "running"
        return httpx.Response(200, json=job(status), headers={"ETag": f'"{self.at}"'})

    def _event(self, number):
        return {"seq": number, "kind": "k", "message": "a\u2028b\x85"}

    def _stream(self, after):
        self.resumed.append(after)
        cut = self.cuts.pop(0) if self.cuts else self.last
        if cut == 0:
            return httpx.Response(200, json={"items": [], "has_more": False})
        headers = {"Content-Type": "text/event-stream; charset=utf-8"}
        return httpx.Response(200, headers=headers, content=self._pieces(after, cut))

    def _pieces(self, after, cut):
        text = "retry: 1000\n\n: keepalive\n\n"
        for number in range(after + 1, min(after + cut, self.last) + 1):
            self.at = number
            data = json.dumps(self._event(number), ensure_ascii=False)
            text += f"id: {number}\nevent: k\ndata: {data}\n\n"
        if self.at == self.last:
            text += 'event: job.finished\ndata: {"status":"succeeded"}\n\n'
        else:
            text += f"id: {self.at + 1}\neve"  # cut off within an event
        content = text.encode()
        for first in range(0, len(content), 7):
            yield content[first : first + 7]
        if self.at < self.last:
            raise httpx.ReadError("cut off")


@pytest.mark.parametrize("cuts", [(), (1,) * 9, (2, 1, 3), (1, 0)])
def test_a_stream_that_breaks_off_is_followed_where_it_did(client_of, cuts):
    service = Streaming(9, *cuts)
    events = []
    done = client_of(service).wait("job_1", on_event=lambda e: events.append(e.seq))
    assert done.status is JobStatus.SUCCEEDED
    assert events == list(range(1, 10))
    assert service.resumed == sorted(set(service.resumed))


def test_a_service_that_starts_again_tells_nothing_twice(client_of):
    service = Streaming(6, 2, 4)
    resumed = service._stream
    service._stream = lambda after: resumed(0)
    events = []
    client_of(service).wait("job_1", on_event=lambda e: events.append(e.seq))
    assert events == [1, 2, 3, 4, 5, 6]


def test_where_no_stream_can_be_had_changes_are_asked_for(client_of):
    service = Streaming(4, 0)
    events = []
    client_of(service).wait("job_1", on_event=lambda e: events.append(e.seq))
    assert events == [1, 2, 3, 4]
    assert service.resumed == [0]
    assert service.waits == ['"0"', '"1"', '"2"', '"3"']  # the one that is known


class Service:
    """A job that finishes after some looks at it, with one event per look."""

    def __init__(self, *statuses, broken_at=()):
        self.statuses = statuses
        self.broken_at = set(broken_at)
        self.looks = 0
        self.requests = 0

    def __call__(self, request):
        self.requests += 1
        if self.requests in self.broken_at:
            raise httpx.ReadError("connection reset")
        if request.url.path.endswith("/events"):
            after = int(request.url.params.get("after", 0))
            events = [
                {"seq": n, "kind": f"job.{self._status(n)}"}
                for n in range(after + 1, self.looks + 1)
            ]
            return httpx.Response(200, json={"items": events, "has_more": False})
        self.looks += 1
        return httpx.Response(200, json=job(self._status(self.looks)))

    def _status(self, look):
        return self.statuses[min(look, len(self.statuses)) - 1]


def test_waiting_sees_every_event_once_and_the_last_one_too(client_of):
    service = Service("queued", "running", "running", "succeeded")
    events, looks = [], []
    done = client_of(service).wait(
        "job_1", on_event=lambda e: events.append(e.seq), on_job=lambda j: looks.append(j.status)
    )
    assert done.status is JobStatus.SUCCEEDED
    assert events == [1, 2, 3, 4]
    assert looks == ["queued", "running", "running", "succeeded"]


def test_waiting_survives_dropped_connections(client_of):
    service = Service("running", "running", "succeeded", broken_at={1, 4, 5, 6})
    events = []
    done = client_of(service).wait("job_1", on_event=lambda e: events.append(e.seq))
    assert done.status.is_finished
    assert events == [1, 2, 3]


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
def test_waiting_ends_with_every_end_of_a_job(client_of, end):
    assert client_of(Service("running", end)).wait("job_1", timeout=60).status == end


def test_waiting_stops_on_time_and_leaves_the_job(client_of, clock):
    with pytest.raises(WaitTimeoutError, match="job_1 is still running after 10 s") as caught:
        client_of(Service("running")).wait("job_1", timeout=10)
    assert caught.value.job.id == "job_1"
    assert sum(clock.naps) == pytest.approx(10)


def test_a_timeout_of_zero_looks_once(client_of):
    service = Service("running")
    with pytest.raises(WaitTimeoutError):
        client_of(service).wait("job_1", timeout=0)
    assert service.looks == 1
    assert client_of(Service("succeeded")).wait("job_1", timeout=0).status == "succeeded"


def test_waiting_looks_often_at_first_and_rarely_later(client_of, clock):
    with pytest.raises(WaitTimeoutError):
        client_of(Service("running")).wait("job_1", timeout=600)
    assert clock.naps[0] <= 0.5
    assert len(clock.naps) <= 350
    assert max(clock.naps) <= 5


def test_waiting_has_more_patience_than_a_call_but_not_beyond_its_timeout(client_of, clock):
    away = answers(httpx.ConnectError("no"))
    with pytest.raises(ServerUnreachableError):
        client_of(away).wait("job_1")
    assert 30 <= clock.now - 1000 <= 60
    begin = clock.now
    with pytest.raises(ServerUnreachableError):
        client_of(away).wait("job_1", timeout=3)
    assert clock.now - begin <= 3


def test_a_hanging_service_is_not_waited_for_beyond_the_timeout(client_of):
    handler = answers(httpx.ReadTimeout("slow"))
    with pytest.raises(ServerUnreachableError):
        client_of(handler, timeout=30).wait("job_1", timeout=5)
    assert handler.requests[0].extensions["timeout"]["read"] <= 5
    with pytest.raises(ServerUnreachableError):
        client_of(handler, timeout=30).job("job_1")
    assert handler.requests[-1].extensions["timeout"]["read"] == 30
