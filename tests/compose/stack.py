"""The containers of the deployment, as the scenarios see them. Standard library only."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

LOG_LINES = "120"

T = TypeVar("T")


class BrokenError(Exception):
    """Something is not as it should be."""


class Stack:
    """The containers of one compose project.

    Args:
        folder: a clone of the repository with its `.env`.
        project: the name under which they run.
        port: where the API is, on this machine.
        profile: what is run beside the services without a profile.
    """

    def __init__(self, folder: Path, project: str, port: int, profile: str | None = None) -> None:
        self.folder, self.project = folder, project
        self.url = f"http://127.0.0.1:{port}"
        profiles = ["--profile", profile] if profile else []
        self._compose = [*_compose_command(), "-p", project, *profiles]

    def compose(self, *arguments: str, seconds: float = 300.0) -> str:
        """Run docker compose; its output, which is not shown unless it fails."""
        return run([*self._compose, *arguments], self.folder, seconds)

    def containers(self, service: str) -> list[str]:
        """The containers of a service that run."""
        labels = [f"project={self.project}", f"service={service}"]
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return run(["docker", "ps", "-q", *filters]).split()

    def one(self, service: str) -> str:
        """The only container of a service."""
        (container,) = self.containers(service)
        return container

    def healthy(self, service: str) -> int:
        """How many containers of a service are healthy."""
        containers = self.containers(service)
        if not containers:
            return 0
        state = "{{.State.Health.Status}}"
        found = run(["docker", "inspect", "--format", state, *containers])
        return found.split().count("healthy")

    def ask(self, path: str, body: Any = None) -> Any:
        """What the API answers: JSON, or text."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} if data else {}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def await_trials(self, job_id: str, more: int, seconds: float = 120.0) -> None:
        """Wait until so many more runs of a job have finished, before it has ended."""

        def count() -> int:
            job = self.ask(f"/v1/jobs/{job_id}")
            assert not job["finished_at"], f"{job['status']} too early for this test"
            return int((job["progress"] or {}).get("trials_finished", 0))

        before = count()
        until(lambda: count() >= before + more, seconds, f"{more} more runs have finished")

    def await_end(self, job_id: str) -> Any:
        """The job, once it has ended."""

        def ended() -> Any:
            job = self.ask(f"/v1/jobs/{job_id}")
            return job if job["finished_at"] else None

        return until(ended, 900, "the job has ended")

    def holder(self, job_id: str) -> str | None:
        """The container of the worker that has the job, by what the workers log."""
        began: dict[str, str] = {}
        for container in self.containers("worker"):
            lines = [line for line in logged(container) if line.get("job_id") == job_id]
            starts = [line["time"] for line in lines if line["message"] == "begins"]
            if starts:
                began[container] = max(starts)
        return max(began, key=lambda container: began[container]) if began else None

    def show_logs(self) -> None:
        """Print how the containers stand, and the end of what each has said."""
        with contextlib.suppress(BrokenError):
            print(self.compose("ps"))
            print(self.compose("logs", "--no-color", f"--tail={LOG_LINES}"))

    def take_down(self) -> None:
        """End everything, and remove it but for the images."""
        self.compose("down", "--volumes", "--remove-orphans", seconds=180)


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
    return run(["docker", "exec", container, *command]).strip()


def logged(container: str) -> list[dict[str, Any]]:
    """The lines that a container logged as JSON."""
    lines = run(["docker", "logs", container], both=True).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def say(text: str) -> None:
    """Tell what was seen."""
    print(text, flush=True)


def _compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker-compose"] if plugin.returncode else ["docker", "compose"]


def run(
    command: list[str],
    folder: Path | None = None,
    seconds: float = 60.0,
    *,
    given: str | None = None,
    both: bool = False,
) -> str:
    """The standard output of a command, with `both` its standard error, too.

    Raises:
        BrokenError: it failed, with the end of what it said, or did not end in time.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=seconds,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokenError(str(error)) from None
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise BrokenError(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")
    return done.stdout + done.stderr * both
