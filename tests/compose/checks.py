"""What holds in every scenario: what containers may do, how a job ends, what no log tells."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.compose.stack import Stack, inside, run, say

JOB = json.loads((Path(__file__).parents[2] / "examples" / "digits-mlp.json").read_text())
NOBODY_ELSE = 10001


def submitted(stack: Stack) -> str:
    """The id of a job that was accepted just now."""
    job_id = str(stack.ask("/v1/jobs?cache=false", JOB)["id"])
    say(f"submitted {job_id}")
    return job_id


def check_locked(container: str) -> None:
    """It is no root, has no capabilities, and writes to its volume and to /tmp alone."""
    assert inside(container, "id", "-u") == str(NOBODY_ELSE), "runs as another user"
    status = inside(container, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status, status
    told = inside(container, "sh", "-c", "touch /app/x /usr/x 2>&1 || true")
    assert told.count("Read-only file system") == 2, told
    inside(container, "touch", "/tmp/x")
    ports = run(["docker", "port", container]).strip().splitlines()
    assert all("-> 127.0.0.1:" in line for line in ports), ports


def check_result(stack: Stack, job: Any) -> None:
    """The job has succeeded once, each of its runs is there once, and its config is valid."""
    assert job["status"] == "succeeded", job
    own = f"/v1/jobs/{job['id']}"
    config = stack.ask(f"{own}/recommendation")
    command = ["docker", "exec", "-i", stack.one("api"), "sh", "-c"]
    check = "cat >/tmp/schedule.json && lrtuner check /tmp/schedule.json"
    run([*command, check], given=json.dumps(config))
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


def check_logs(stack: Stack, hidden: Iterable[str]) -> None:
    """No secret and no traceback is in the logs."""
    text = stack.compose("logs", "--no-color")
    assert not any(secret in text for secret in hidden), "a secret is in the logs"
    # what Ray itself says of a cluster that is starting is not ours
    others = re.compile(r"db|ray-[^|]*\| (?!\{)")
    ours = [line for line in text.splitlines() if not others.match(line)]
    traces = [line for line in ours if "Traceback" in line]
    assert not traces, traces
    metrics = stack.ask("/metrics")
    assert 'lrtuner_jobs{status="succeeded"} 1.0' in metrics, metrics
    say("no secret and no traceback in the logs")
