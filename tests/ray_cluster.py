"""A cluster of Ray on this machine: a head that trains nothing, and nodes that tests add and kill.

Imported before Ray is, which looks up once whether it is to authenticate.
"""

import contextlib
import json
import os
import secrets
import tempfile
import time
from pathlib import Path

import pytest

from worker.rules import Rules

TOKEN = secrets.token_hex(16)
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
MARK = "LRTUNER_TEST_MARK"  # of tests.conformance.misbehaving, which takes seconds to import

DATABASE = {"LRTUNER_DATABASE_URL": "postgresql://u@h/d", "LRTUNER_DATABASE_PASSWORD": "secret"}

ROOT = Path(__file__).parent.parent
GONE_SECONDS = 30.0


class RayCluster:
    """One head without a CPU, and what is added to it.

    The environment of its nodes names a database, as one might that was started beside a worker.
    """

    def __init__(self, utilities) -> None:
        self._cluster = utilities.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "env_vars": _environment()},
        )
        self.address = self._cluster.address

    def add(self, *, num_cpus=1, num_gpus=0, **environment):
        """A further node, with what is to be in its environment."""
        return self._cluster.add_node(
            num_cpus=num_cpus, num_gpus=num_gpus, env_vars=_environment(**environment)
        )

    def kill(self, node):
        """What a power cut does to it."""
        self._cluster.remove_node(node, allow_graceful=False)

    def node_of(self, pid):
        """Where the process runs."""
        return next(n for n in self._cluster.worker_nodes if _raylet(n) == _parent(pid))

    def end(self):
        Path(_environment()[MARK]).unlink(missing_ok=True)
        self._cluster.shutdown()
        wait_until(lambda: not processes(), "no process of Ray is left")


def _raylet(node):
    return node.all_processes["raylet"][0].process.pid


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _environment(**more):
    ours = {"PYTHONPATH": str(ROOT), **DATABASE}
    return {**ours, MARK: str(Path(tempfile.gettempdir()) / f"killed-{TOKEN}"), **more}


def processes(title=b""):
    """The processes of the cluster: they have its token. Those that train are called `ray::...`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if TOKEN.encode() in (folder / "environ").read_bytes() and b"ray" in command:
                found += [int(folder.name)] if command.startswith(title) else []
    return [pid for pid in found if pid != os.getpid()]


def wait_until(so, what, seconds=GONE_SECONDS):
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def ray_cluster():
    """A cluster with two nodes of one CPU each."""
    utilities = pytest.importorskip("ray.cluster_utils", reason="needs Ray: make test-ray")
    cluster = RayCluster(utilities)
    try:
        for _ in range(2):
            cluster.add()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def joined(ray_cluster):
    """The cluster, with this process as its driver."""
    ray = pytest.importorskip("ray")
    connect = pytest.importorskip("worker.runners.cluster").connect
    runner = pytest.importorskip("worker.runners.ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "RETRIES", 1)  # processes take their time to start
        yield connect(ray_cluster.address)
    ray.shutdown()


def ask_of(spec, device="cpu", rules=None, **resources):
    """The way of that job to the cluster."""
    order = {
        "spec": json.loads(spec.model_dump_json(by_alias=True)),
        "rules": (rules or Rules()).model_dump(mode="json"),
        "device": device,
    }
    ask = pytest.importorskip("worker.runners.ray").Ask
    return ask(order, **(resources or {"num_cpus": 1}))


def task_of(spec, **how):
    """The job's task, trained on the cluster."""
    return pytest.importorskip("worker.runners.ray").RayTask(spec, ask_of(spec, **how))
