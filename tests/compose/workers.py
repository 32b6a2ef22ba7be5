"""The service with its workers: they are stopped and killed, the database restarted and lost."""

import time

from tests.compose.checks import check_locked, check_logs, check_result, submitted
from tests.compose.stack import Stack, inside, logged, run, say, until

LEASE_SECONDS = 10


def exercise(stack: Stack, hidden: list[str]) -> None:
    """Bring it up, and see a job through all of it.

    Raises:
        BrokenError, AssertionError, OSError, ValueError: something is not as it should be.
    """
    stack.compose("up", "--detach", seconds=300)
    ready = until(lambda: stack.ask("/readyz"), 120, "the API is ready")
    assert ready["migrations"] == "current", ready
    until(lambda: stack.healthy("worker") == 1, 120, "the worker is healthy")
    _check_containers(stack)

    job_id = submitted(stack)
    stack.await_trials(job_id, more=2)
    stack.compose("up", "--detach", "--no-recreate", "--scale", "worker=3")
    until(lambda: stack.healthy("worker") == 3, 180, "three workers are healthy")

    _stop_a_worker(stack, job_id)
    _kill_a_worker(stack, job_id)
    say("restarting the database")
    stack.compose("restart", "db")
    until(lambda: stack.ask("/readyz"), 60, "the API is ready again")
    stack.await_trials(job_id, more=1)

    check_result(stack, stack.await_end(job_id))
    check_logs(stack, hidden)
    _restore_a_backup(stack, job_id)


def _check_containers(stack: Stack) -> None:
    """What they may, and what is in them."""
    api, worker = stack.one("api"), stack.one("worker")
    lacks = "import importlib.util as u; raise SystemExit(u.find_spec('torch') is not None)"
    inside(api, "python", "-c", lacks)
    say("no torch in the api image")
    for container in (api, worker):
        check_locked(container)
        inside(container, "touch", "/data/x")
        say(inside(container, "lrtuner", "doctor"))
    user = run(["docker", "inspect", "--format", "{{.Config.User}}", "lrtuner-migrate:test"])
    assert user.strip() == "lrtuner", user
    assert not run(["docker", "port", stack.one("db")]).strip(), "the database's port is published"
    say(
        "api, worker and migrate are no root, without capabilities, and cannot write to their files"
    )


def _stop_a_worker(stack: Stack, job_id: str) -> None:
    worker = until(lambda: stack.holder(job_id), 60, "a worker has the job")
    began = time.monotonic()
    run(["docker", "stop", "--time", "30", worker])
    seconds = time.monotonic() - began
    code = run(["docker", "inspect", "--format", "{{.State.ExitCode}}", worker]).strip()
    assert code == "0", f"the worker ended with {code}"
    assert any(line.get("message") == "handed back" for line in logged(worker)), "not handed back"
    until(lambda: stack.holder(job_id), 60, "another worker has the job")
    attempts = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    say(f"a worker that was stopped handed the job back in {seconds:.1f} s; attempts: {attempts}")
    stack.await_trials(job_id, more=1)


def _kill_a_worker(stack: Stack, job_id: str) -> None:
    worker = until(lambda: stack.holder(job_id), 60, "a worker has the job")
    before = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    run(["docker", "kill", "--signal", "KILL", worker])
    began = time.monotonic()
    until(lambda: stack.holder(job_id), 60 + LEASE_SECONDS, "another worker took the job over")
    after = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    assert after == before + 1, (before, after)
    say(f"a killed worker's job was taken over after {time.monotonic() - began:.1f} s")
    stack.await_trials(job_id, more=1)


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
