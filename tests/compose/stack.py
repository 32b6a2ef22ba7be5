"""Bring the stack up from a clean clone, hurt it while it works, and see that nothing is lost.

`tests/compose/run`: builds the images, starts docker-compose.yml under a project name of
its own, submits a job, and takes away from under it, one after the other, a worker that is asked to
stop, a worker that is killed, and the database. Standard library only. Exits with 1 and the logs on
the first thing that is not as it should be; takes down all that it started, but for the images.
"""

import argparse
import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
JOB = json.loads((ROOT / "examples" / "digits-mlp.json").read_text())
PASSWORD = f"a/b:c@d%20{secrets.token_urlsafe(18)}"  # of the kind that breaks URLs
LEASE_SECONDS = 10
NOBODY_ELSE = 10001
LOG_LINES = "120"

T = TypeVar("T")


class BrokenError(Exception):
    """Something is not as it should be."""


class Stack:
    """The containers of one compose project."""

    def __init__(self, folder: Path, project: str, port: int) -> None:
        self.folder, self.project = folder, project
        self.url = f"http://127.0.0.1:{port}"
        self._compose = _compose_command()

    def compose(self, *arguments: str, seconds: float = 300.0) -> str:
        """Run docker compose; its output, which is not shown unless it fails."""
        return _run([*self._compose, "-p", self.project, *arguments], self.folder, seconds)

    def containers(self, service: str) -> list[str]:
        """The containers of a service that run."""
        labels = [f"project={self.project}", f"service={service}"]
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return _run(["docker", "ps", "-q", *filters]).split()

    def one(self, service: str) -> str:
        """The only container of a service."""
        (container,) = self.containers(service)
        return container

    def ask(self, path: str, body: Any = None) -> Any:
        """What the API answers: JSON, or text."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} if data else {}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def holder(self, job_id: str) -> str | None:
        """The container of the worker that has the job, by what the workers log."""
        began: dict[str, str] = {}
        for container in self.containers("worker"):
            lines = [line for line in logged(container) if line.get("job_id") == job_id]
            starts = [line["time"] for line in lines if line["message"] == "begins"]
            if starts:
                began[container] = max(starts)
        return max(began, key=lambda container: began[container]) if began else None


def main() -> int:
    """Run everything; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="tests/compose/run", description=__doc__)
    parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lrtuner-compose-"))
    project = f"lrtuner-{secrets.token_hex(4)}"
    port = _free_port()
    stack = Stack(folder / "lrtuner", project, port)
    try:
        _clone(stack.folder, port)
        _build(stack)
        _exercise(stack)
    except (BrokenError, AssertionError, OSError, ValueError) as error:
        print(f"\nFAILED: {type(error).__name__}: {error}")
        _show_logs(stack)
        return 1
    finally:
        _take_down(stack)
        shutil.rmtree(folder)
    print("all of it works")
    return 0


def _clone(folder: Path, port: int) -> None:
    _run(["git", "clone", "--quiet", "--no-hardlinks", f"file://{ROOT}", str(folder)])
    if _run(["git", "status", "--porcelain"], ROOT).strip():
        say("what is not committed here is not tested")
    settings = {
        "POSTGRES_PASSWORD": PASSWORD,
        "LRTUNER_PORT": port,
        "LRTUNER_TAG": "test",
        "LRTUNER_LEASE_SECONDS": LEASE_SECONDS,
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    example = (folder / ".env.example").read_text()
    (folder / ".env").write_text("\n".join([example, *lines, ""]))


def _build(stack: Stack) -> None:
    began = time.monotonic()
    stack.compose("build", "--quiet", seconds=3600)
    say(f"images built in {time.monotonic() - began:.0f} s; on top of their base they take")
    for name in ("api", "migrate", "worker"):
        say(f"  {name:8} {_added_bytes(f'lrtuner-{name}:test') / 1e6:6.0f} MB")


def _exercise(stack: Stack) -> None:
    stack.compose("up", "--detach", seconds=300)
    ready = until(lambda: stack.ask("/readyz"), 120, "the API is ready")
    assert ready["migrations"] == "current", ready
    until(lambda: _healthy(stack, "worker") == 1, 120, "the worker is healthy")
    _check_containers(stack)

    job_id = stack.ask("/v1/jobs?cache=false", JOB)["id"]
    say(f"submitted {job_id}")
    _await_trials(stack, job_id, more=2)
    stack.compose("up", "--detach", "--no-recreate", "--scale", "worker=3")
    until(lambda: _healthy(stack, "worker") == 3, 180, "three workers are healthy")

    _stop_a_worker(stack, job_id)
    _kill_a_worker(stack, job_id)
    say("restarting the database")
    stack.compose("restart", "db")
    until(lambda: stack.ask("/readyz"), 60, "the API is ready again")
    _await_trials(stack, job_id, more=1)

    job = until(lambda: _finished(stack, job_id), 900, "the job has ended")
    assert job["status"] == "succeeded", job
    _check_result(stack, job)
    _check_logs(stack)
    _restore_a_backup(stack, job_id)


def _check_containers(stack: Stack) -> None:
    """What they may, and what is in them."""
    api, worker = stack.one("api"), stack.one("worker")
    lacks = "import importlib.util as u; raise SystemExit(u.find_spec('torch') is not None)"
    inside(api, "python", "-c", lacks)
    say("no torch in the api image")
    for container in (api, worker):
        assert inside(container, "id", "-u") == str(NOBODY_ELSE), "runs as another user"
        status = inside(container, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status, status
        told = inside(container, "sh", "-c", "touch /app/x /usr/x 2>&1 || true")
        assert told.count("Read-only file system") == 2, told
        inside(container, "touch", "/tmp/x", "/data/x")
        say(inside(container, "lrtuner", "doctor"))
    user = _run(["docker", "inspect", "--format", "{{.Config.User}}", "lrtuner-migrate:test"])
    assert user.strip() == "lrtuner", user
    assert not _run(["docker", "port", stack.one("db")]).strip(), "the database's port is published"
    say(
        "api, worker and migrate are no root, without capabilities, and cannot write to their files"
    )


def _stop_a_worker(stack: Stack, job_id: str) -> None:
    worker = until(lambda: stack.holder(job_id), 60, "a worker has the job")
    began = time.monotonic()
    _run(["docker", "stop", "--time", "30", worker])
    seconds = time.monotonic() - began
    code = _run(["docker", "inspect", "--format", "{{.State.ExitCode}}", worker]).strip()
    assert code == "0", f"the worker ended with {code}"
    assert any(line.get("message") == "handed back" for line in logged(worker)), "not handed back"
    until(lambda: stack.holder(job_id), 60, "another worker has the job")
    attempts = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    say(f"a worker that was stopped handed the job back in {seconds:.1f} s; attempts: {attempts}")
    _await_trials(stack, job_id, more=1)


def _kill_a_worker(stack: Stack, job_id: str) -> None:
    worker = until(lambda: stack.holder(job_id), 60, "a worker has the job")
    before = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    _run(["docker", "kill", "--signal", "KILL", worker])
    began = time.monotonic()
    until(lambda: stack.holder(job_id), 60 + LEASE_SECONDS, "another worker took the job over")
    after = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    assert after == before + 1, (before, after)
    say(f"a killed worker's job was taken over after {time.monotonic() - began:.1f} s")
    _await_trials(stack, job_id, more=1)


def _check_result(stack: Stack, job: Any) -> None:
    own = f"/v1/jobs/{job['id']}"
    config = stack.ask(f"{own}/recommendation")
    api = stack.one("api")
    command = ["docker", "exec", "-i", api, "sh", "-c"]
    check = "cat >/tmp/schedule.json && lrtuner check /tmp/schedule.json"
    _run([*command, check], given=json.dumps(config))
    events = stack.ask(f"{own}/events?limit=1000")["items"]
    kinds = [event["kind"] for event in events]
    assert kinds.count("job.succeeded") == 1, kinds
    trials = stack.ask(f"{own}/trials?limit=500")["items"]
    numbers = [trial["number"] for trial in trials]
    assert sorted(set(numbers)) == sorted(numbers), "a run is there twice"
    assert not [trial for trial in trials if trial["state"] == "running"], "a run never ended"
    status, schedule = config["verdict"]["status"], config["body"]["family"]
    say(
        f"{len(trials)} runs, {job['attempts']} attempts; the config is valid: {schedule}, {status}"
    )


def _check_logs(stack: Stack) -> None:
    text = stack.compose("logs", "--no-color")
    assert PASSWORD not in text, "the password is in the logs"
    ours = [line for line in text.splitlines() if not line.startswith("db")]
    traces = [line for line in ours if "Traceback" in line]
    assert not traces, traces
    metrics = stack.ask("/metrics")
    assert 'lrtuner_jobs{status="succeeded"} 1.0' in metrics, metrics
    say("no password and no traceback in the logs")


def _restore_a_backup(stack: Stack, job_id: str) -> None:
    """Lose the database, and bring it back as the README says."""
    path = f"/v1/jobs/{job_id}/recommendation"
    before = stack.ask(path)
    in_db = ["exec", "-T", "db", "sh", "-c"]
    stack.compose(*in_db, "pg_dump -U lrtuner -Fc lrtuner >/tmp/lrtuner.dump")
    stack.compose("stop", "api", "worker")
    stack.compose(*in_db, "dropdb -U lrtuner lrtuner && createdb -U lrtuner lrtuner")
    stack.compose(*in_db, "pg_restore -U lrtuner -d lrtuner /tmp/lrtuner.dump")
    stack.compose("start", "api")
    until(lambda: stack.ask("/readyz"), 60, "the API is ready on the restored database")
    assert stack.ask(path) == before
    say("the database was lost and restored from its dump")


def _await_trials(stack: Stack, job_id: str, more: int) -> None:
    def count() -> int:
        job = stack.ask(f"/v1/jobs/{job_id}")
        assert not job["finished_at"], f"{job['status']} too early for this test"
        return int((job["progress"] or {}).get("trials_finished", 0))

    before = count()
    until(lambda: count() >= before + more, 120, f"{more} more runs have finished")


def _finished(stack: Stack, job_id: str) -> Any:
    job = stack.ask(f"/v1/jobs/{job_id}")
    return job if job["finished_at"] else None


def _healthy(stack: Stack, service: str) -> int:
    state = "{{.State.Health.Status}}"
    containers = stack.containers(service)
    if not containers:
        return 0
    return _run(["docker", "inspect", "--format", state, *containers]).split().count("healthy")


def until(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """Look until there is something to see; what cannot be reached yet is looked for again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):  # URLError is one
            if found := look():
                return found
        time.sleep(0.5)
    raise BrokenError(f"not after {seconds:.0f} s: {what}")


def inside(container: str, *command: str) -> str:
    """What a command in a container says."""
    return _run(["docker", "exec", container, *command]).strip()


def logged(container: str) -> list[dict[str, Any]]:
    """The lines that a container logged as JSON."""
    lines = _run(["docker", "logs", container], both=True).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def say(text: str) -> None:
    """Tell what was seen."""
    print(text, flush=True)


def _added_bytes(image: str) -> int:
    """The size of an image without that of the public image that it is made from."""
    history = ["docker", "history", "--human=false", "--format", "{{.Size}}"]
    sizes = [int(size) for size in _run([*history, image]).split()]
    base = _run([*history, f"python:{_python_tag()}"]).split()
    return sum(sizes[: len(sizes) - len(base)])


def _python_tag() -> str:
    line = next(s for s in (ROOT / "Dockerfile").read_text().splitlines() if s.startswith("ARG"))
    return line.partition("=")[2]


def _show_logs(stack: Stack) -> None:
    with contextlib.suppress(BrokenError):
        print(stack.compose("ps"))
        print(stack.compose("logs", "--no-color", f"--tail={LOG_LINES}"))


def _take_down(stack: Stack) -> None:
    if not stack.folder.exists():
        return
    stack.compose("down", "--volumes", "--remove-orphans", seconds=180)


def _compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker-compose"] if plugin.returncode else ["docker", "compose"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(
    command: list[str],
    folder: Path | None = None,
    seconds: float = 60.0,
    *,
    given: str | None = None,
    both: bool = False,
) -> str:
    """The standard output of a command, with `both` its standard error, too.

    Raises:
        BrokenError: it failed; the message is the end of what it said.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        timeout=seconds,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise BrokenError(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")
    return done.stdout + done.stderr * both


if __name__ == "__main__":
    sys.exit(main())
