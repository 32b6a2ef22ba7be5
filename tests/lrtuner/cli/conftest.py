"""A service that plays a script over real HTTP, a real config, and the command line in-process."""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from lrtuner.candidates import linear_to_zero, to_schedule
from lrtuner.cli import app
from lrtuner.document import ScheduleDocument

STEPS = 380


@pytest.fixture
def config():
    """A recommendation with everything in it, as data."""
    point = {
        "family": "cosine",
        "peak_lr": 0.131,
        "warmup_fraction": 0.05,
        "cosine.end_factor": 0.0,
    }
    schedule, baseline = to_schedule(point, STEPS), to_schedule(linear_to_zero(0.1), STEPS)
    data = {
        "$schema": "http://127.0.0.1:8470/v1/schema/schedule-1.0.json",
        **schedule.document,
        "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
        "context": {"steps_per_epoch": 19, "epochs": 20, "batch_size": 64},
        "checksum_points": schedule.checkpoints(),
        "verdict": {
            "status": "confirmed",
            "metric": "val_loss",
            "baseline": baseline.document,
            "difference": -0.012,
            "ci95": [-0.019, -0.005],
            "p_value": 0.03125,
            "pairs": 5,
            "recommended_mean": 0.1123,
            "baseline_mean": 0.1243,
            "reason": "lower on 5 of 5 fresh seeds",
        },
        "provenance": {
            "job_id": "job_1",
            "tool_version": "0.1.0",
            "created_at": "2026-11-21T12:00:00Z",
            "content_hash": "",
            "seed": 0,
            "budget": {"full_runs": 30.0, "spent": 29.4},
        },
    }
    data["provenance"]["content_hash"] = ScheduleDocument.model_validate(data).hashed()
    return data


@pytest.fixture
def config_file(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(ScheduleDocument.model_validate(config).text())
    return path


class ScriptedService:
    """One job, `job_1`, that passes through `statuses`, one per look at it."""

    def __init__(self, recommendation):
        self.recommendation = recommendation
        self.statuses = ["running", "succeeded"]
        self.error = None
        self.spec = {}
        self.submitted = []
        self.queries = []
        self.cached = False
        self.looks = 0
        self.requests = []
        self.queries = []
        self.listed = None
        self.headers = []
        self.refusals = []

    @property
    def status(self):
        return self.statuses[min(max(self.looks, 1), len(self.statuses)) - 1]

    def job(self):
        own = "/v1/jobs/job_1"
        return {
            "id": "job_1",
            "status": self.status,
            "name": "digits \x1b[31mred",
            "spec": self.spec,
            "attempts": 1,
            "queued_at": "2026-11-21T12:00:00Z",
            "started_at": None,
            "finished_at": None,
            "progress": {
                "phase": "search",
                "trials_finished": 14,
                "budget_spent": 12.44,
                "budget": 30.0,
                "best": 0.0912,
            },
            "error": self.error,
            "links": {"self": own, "trials": own + "/trials", "cancel": own + "/cancel"},
        }

    def events(self, after):
        phases = ["range_test", "search", "search"]
        kinds = ["job.started", "trial.finished", "trial.finished"]
        return [
            {
                "seq": i,
                "kind": kinds[i - 1],
                "phase": phases[i - 1],
                "message": f"event {i} \x1b[2J",
            }
            for i in range(after + 1, min(self.looks, 3) + 1)
        ]

    def refuse(self, status, detail, **more):
        """Answer the next request with a problem."""
        self.refusals.append(problem(status, detail, **more))

    def answer(self, method, path, query):
        """Status and body, JSON or bytes."""
        if self.refusals:
            return self.refusals.pop(0)
        match method, path:
            case "POST", "/v1/jobs":
                return (
                    (200, self.job()) if self.cached else (202, {**self.job(), "status": "queued"})
                )
            case "GET", "/v1/jobs":
                items = [self.job()] if self.listed is None else self.listed
                return 200, {"items": items, "has_more": False, "next_after": None}
            case "GET", "/v1/jobs/job_1":
                self.looks += 1
                return 200, self.job()
            case "GET", "/v1/jobs/job_1/events":
                return 200, {
                    "items": self.events(int(query.get("after", ["0"])[0])),
                    "has_more": False,
                }
            case "GET", "/v1/jobs/job_1/recommendation" | "/v1/recommendations/latest":
                content = self.recommendation.encode()
                return 200, content if query["format"] == ["json"] else b"lr in another form"
            case "POST", "/v1/jobs/job_1/cancel":
                return 202, {**self.job(), "status": "cancelling"}
        return problem(404, f"there is no {path}")


def problem(status, detail, **more):
    return status, {"title": "refused", "status": status, "detail": detail, **more}


@pytest.fixture
def service(config):
    scripted = ScriptedService(ScheduleDocument.model_validate(config).text())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            scripted.requests.append(f"{self.command} {url.path}")
            scripted.headers.append(dict(self.headers))
            if self.command == "POST" and url.path == "/v1/jobs":
                scripted.submitted.append(json.loads(body))
            query = parse_qs(url.query, keep_blank_values=True)
            scripted.queries.append(query)
            status, answer = scripted.answer(self.command, url.path, query)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            kind = "application/problem+json" if status >= 400 else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Cache", "hit" if scripted.cached else "miss")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815 - names of the base class

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    yield scripted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder; `.exit_code`, `.stdout`, `.stderr`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRTUNER_URL", raising=False)
    monkeypatch.delenv("LRTUNER_API_KEY", raising=False)

    def invoke(*arguments, url=None, key=None, stdin=None):
        env = {"LRTUNER_URL": url, "LRTUNER_API_KEY": key}
        result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin, env=env)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert no_control_characters(result.stdout + result.stderr)
        return result

    return invoke


def no_control_characters(text):
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.fixture
def unused_port():
    """A port of this machine on which nobody listens, kept free for as long as the test runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        yield holder.getsockname()[1]
