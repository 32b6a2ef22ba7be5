"""The API under test, through a client that checks every answer against the API's description."""

import contextlib
import functools
import json
import re
import shutil
import threading

import anyio.from_thread
import httpx
import pytest
import uvicorn

from lrtuner.document import ScheduleDocument
from lrtuner.lifecycle import Stage
from lrtuner.store import open_database, queue
from service import remembered
from service.__main__ import Server, listen
from service.app import create_app
from service.openapi import SMALLEST_JOB
from service.settings import Settings
from tests.searched import CONFIRM, ENVIRONMENT, SEARCH, range_test, trials

remembered.KEY_SECONDS = 0.0  # a key that was changed from behind is another one at once


class Checked:
    """A client whose every answer must be documented, in the promised form, and real JSON."""

    def __init__(self, send, app=None):
        self.send = send
        self.app = app
        _documented_paths()  # made once, and not by many threads at the same time

    def request(self, method, url, *, documented=True, **options):
        answer = self.send(method, url, **options)
        assert answer.headers["X-Request-Id"]
        is_json = "json" in answer.headers.get("Content-Type", "")
        if is_json and method != "HEAD" and answer.status_code != 206:
            json.loads(answer.content, parse_constant=_refuse_constant)
        if answer.status_code >= 400 and method != "HEAD":
            _check_problem(answer)
        if documented:
            self._check_documented(method, answer)
        return answer

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def submit(self, **changes):
        """Post the smallest job with these fields changed."""
        return self.post_json(SMALLEST_JOB | changes)

    def post_json(self, document):
        """Post anything `json.dumps` can write, NaN included."""
        return self.post_raw(json.dumps(document))

    def post_raw(self, body, content_type="application/json"):
        return self.post("/v1/jobs", content=body, headers={"Content-Type": content_type})

    def _check_documented(self, method, answer):
        for pattern, operations in _documented_paths():
            if pattern.fullmatch(answer.request.url.path) and method.lower() in operations:
                documented = operations[method.lower()]["responses"]
                assert str(answer.status_code) in documented, (pattern, answer.status_code)


@functools.cache
def _documented_paths():
    """The same for every app; making it takes longer than most tests."""
    paths = create_app(Settings()).openapi()["paths"]
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))), operations)
        for template, operations in paths.items()
    ]


def _refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def _check_problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    if answer.status_code in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    for entry in problem.get("errors", []):
        assert entry["message"]
        assert set(entry) <= {"pointer", "field", "message", "value", "allowed"}


@contextlib.contextmanager
def started(**settings):
    """The API with its lifespan, without a socket; no key is needed unless `auth` says so."""
    app = create_app(Settings(**{"auth": "open"} | settings))

    @contextlib.asynccontextmanager
    async def running():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as inner,
        ):
            yield inner

    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running()) as inner,
    ):

        def send(method, url, **options):
            return portal.call(lambda: inner.request(method, url, **options))

        yield Checked(send, app)


@contextlib.contextmanager
def served(**settings):
    """The API on a real socket, and a client of it."""
    app = create_app(Settings(**settings), on_loopback=True)
    server = Server(uvicorn.Config(app, log_config=None))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        host, port = listener.getsockname()
        try:
            limits = httpx.Limits(max_connections=None)
            url = f"http://{host}:{port}"
            with httpx.Client(base_url=url, timeout=30, limits=limits) as inner:
                client = Checked(inner.request, app)
                client.stop = lambda: setattr(server, "should_exit", True)
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def sqlite_url(request, tmp_path):
    """A fresh, migrated SQLite database, where it does not matter which one it is."""
    path = tmp_path / "lrtuner.db"
    shutil.copy(request.getfixturevalue("_sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def client(database_url):
    """The API over either database; `store` is the same database from behind."""
    with started(database_url=database_url) as client:
        yield client


@pytest.fixture
def sqlite_client(sqlite_url):
    """The API over SQLite."""
    with started(database_url=sqlite_url) as client:
        yield client


@pytest.fixture
def start():
    """Start the API with given settings."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(started(**settings))


@pytest.fixture
def serve():
    """Serve the API with given settings on a real socket."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(served(**settings))


@pytest.fixture
def published():
    """A recommendation as a worker would publish it: text that no other writer would give."""
    schedule = ScheduleDocument.model_validate(
        {
            "total_steps": 20,
            "peak_lr": 0.1,
            "body": {"family": "cosine", "decay_steps": 20.0, "end_factor": 0.0},
            "optimizer": {"name": "sgd", "args": {"momentum": 0.9, "note": "µ"}},
        }
    )
    with_points = schedule.model_copy(update={"checksum_points": schedule.checkpoints()})
    return with_points.text() + "\n  \n"


@pytest.fixture
def leave(store, leave_in):
    """Let a claim leave what a whole search leaves: its environment, stages and runs."""
    return lambda claim, runs=None: leave_in(store, claim, runs)


@pytest.fixture
def leave_in():
    """The same, in any store."""
    swept = range_test().model_dump(mode="json")
    stages = {Stage.RANGE_TEST: swept, Stage.SEARCH: SEARCH, Stage.CONFIRM: CONFIRM}
    told = {"kind": "environment", "phase": None, "message": "training", "data": ENVIRONMENT}

    def left(store, claim, runs=None):
        with store.database.writing() as connection:
            queue.add_event(connection, claim, **told)
            for run in trials() if runs is None else runs:
                recorded = {"number": run.number, "document": run.model_dump(mode="json")}
                queue.start_trial(connection, claim, phase=run.phase, **recorded)
                if run.state.is_finished:
                    ended = {"state": run.state, "value": run.value, "cost": run.cost}
                    queue.finish_trial(connection, claim, **recorded, **ended)
            for stage, result in stages.items():
                queue.finish_stage(connection, claim, stage=stage, result=result)

    return left


@pytest.fixture
def open_store():
    """Open a database, closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def opened(url):
            database = open_database(url)
            stack.callback(database.close)
            return database

        yield opened
