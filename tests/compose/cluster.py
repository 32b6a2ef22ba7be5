"""The service with a Ray cluster: during a job it loses a node, its head and its driver."""

import time

from tests.compose.checks import check_locked, check_logs, check_result, submitted
from tests.compose.stack import BrokenError, Stack, inside, logged, run, say, until

NODES = 2
_TRAINS = "ray::told"  # how Ray calls the processes that do
_OTHER_TOKEN = "RAY_AUTH_TOKEN=another"
_REACH = "import socket; socket.create_connection(('{}', {}), timeout=5)"


def exercise(stack: Stack, hidden: list[str]) -> None:
    """Bring it up, and see a job through the loss of a node, of the head and of the driver.

    Raises:
        BrokenError, AssertionError, OSError, ValueError: something is not as it should be.
    """
    scale = ["--scale", "worker=0", "--scale", f"ray-worker={NODES}"]
    stack.compose("up", "--detach", *scale, seconds=300)
    until(lambda: stack.ask("/readyz"), 120, "the API is ready")
    until(lambda: stack.healthy("ray-driver") == 1, 600, "the driver has joined the cluster")
    _check_containers(stack)
    _check_who_is_let_in(stack)

    job_id = submitted(stack)
    until(lambda: len(_training(stack)) == NODES, 240, "every node trains")
    stack.await_trials(job_id, more=2)
    _kill_a_node(stack, job_id)
    _restart_the_head(stack, job_id)
    _stop_the_driver(stack, job_id)
    job = stack.await_end(job_id)
    check_result(stack, job)
    until(lambda: not _training(stack), 60, "no node trains any more")
    check_logs(stack, hidden)


def _check_containers(stack: Stack) -> None:
    head, driver, nodes = (
        stack.one("ray-head"),
        stack.one("ray-driver"),
        stack.containers("ray-worker"),
    )
    assert len(nodes) == NODES
    for container in (head, driver, *nodes):
        check_locked(container)
    say(inside(driver, "lrtuner", "doctor"))
    for host, port in (("db", 5432), ("api", 8470)):
        inside(driver, "python", "-c", _REACH.format(host, port))
        for container in (head, *nodes):
            try:
                inside(container, "python", "-c", _REACH.format(host, port))
            except BrokenError:
                continue
            raise BrokenError(f"a node reaches {host}")
    say("the nodes are locked, too, and reach neither the database nor the API")


def _check_who_is_let_in(stack: Stack) -> None:
    """What the driver says of the cluster with another token, and with none."""
    driver = stack.one("ray-driver")
    tried = ["python", "-m", "worker.runners.chosen"]
    for changed, told in (
        (["RAY_AUTH_TOKEN_PATH=", _OTHER_TOKEN], "its token is another one"),
        (["RAY_AUTH_MODE=disabled"], "without authentication"),
    ):
        said = inside(driver, "sh", "-c", 'env "$@" || true', "sh", *changed, *tried)
        assert told in said, said
    say("without the token of the cluster nobody is let in")


def _training(stack: Stack) -> list[str]:
    """The nodes that train at this moment."""
    nodes = stack.containers("ray-worker")
    return [node for node in nodes if _TRAINS in run(["docker", "top", node, "-eo", "pid,cmd"])]


def _kill_a_node(stack: Stack, job_id: str) -> None:
    node = until(lambda: _training(stack), 60, "a node trains")[0]
    run(["docker", "kill", "--signal", "KILL", node])
    began = time.monotonic()
    stack.await_trials(job_id, more=2)
    attempts = stack.ask(f"/v1/jobs/{job_id}")["attempts"]
    assert attempts == 1, f"the loss of a node was an attempt: {attempts}"
    say(f"a node was killed at work; two runs later: {time.monotonic() - began:.1f} s, attempt 1")


def _restart_the_head(stack: Stack, job_id: str) -> None:
    """All nodes lose it, and the driver's own ends with that: it has to find its way back."""
    began = time.monotonic()
    stack.compose("restart", "ray-head")
    stack.await_trials(job_id, more=1, seconds=420)
    lines = logged(stack.one("ray-driver"))
    assert any(line["message"].startswith("handed back") for line in lines), lines
    say(f"the head was restarted; a run later: {time.monotonic() - began:.1f} s")


def _stop_the_driver(stack: Stack, job_id: str) -> None:
    driver = stack.one("ray-driver")
    began = time.monotonic()
    stack.compose("stop", "ray-driver")
    seconds = time.monotonic() - began
    code = run(["docker", "inspect", "--format", "{{.State.ExitCode}}", driver]).strip()
    assert code == "0", f"the driver ended with {code}"
    assert any(line.get("message") == "handed back" for line in logged(driver)), "not handed back"
    until(lambda: not _training(stack), 60, "no node trains for a driver that is gone")
    stack.compose("start", "ray-driver")
    say(f"the driver was stopped in {seconds:.1f} s and handed the job back; it is started again")
    stack.await_trials(job_id, more=1)
