"""Questions to a task on a cluster: of nodes that die, that differ, and that have GPUs."""

import json
import os
import signal

import pytest

from lrtuner.errors import JobFailedError
from tests.ray_cluster import processes, wait_until
from tests.worker.conftest import CPU, spec_of
from worker import trainer
from worker.device import prepare
from worker.remote import PROCESS_DIED, RemoteError, RemoteTask
from worker.rules import Rules
from worker.task import make_task

ray = pytest.importorskip("ray", reason="needs Ray: make test-ray")
runner = pytest.importorskip("worker.runners.ray")

pytestmark = pytest.mark.ray

SPEC = spec_of(training={"batch_size": 16, "steps": 3000})
LONG = [[0.05] * 40, [0.05] * 3000, [0.01] * 3000]


def ask_of(spec=SPEC, device="cpu", **resources):
    order = {
        "spec": json.loads(spec.model_dump_json(by_alias=True)),
        "rules": Rules().model_dump(mode="json"),
        "device": device,
    }
    return runner.Ask(order, **(resources or {"num_cpus": 1}))


@pytest.fixture
def task(joined):
    ask = ask_of()
    with RemoteTask(SPEC, lambda: runner.RayLink(ask)) as task:
        yield task


@pytest.fixture(scope="module")
def undisturbed():
    prepare(CPU)
    task = make_task(SPEC, CPU)
    return [(i, told(run)) for i, run in trainer.train_together(task, LONG, 3)]


def told(run):
    """All of a run but the time that it took."""
    return {name: value for name, value in vars(run).items() if name != "seconds"}


def test_a_process_that_is_killed_mid_trial_is_replaced(task, undisturbed):
    runs = trainer.train_together(task, LONG, 3)
    found = [next(runs)]
    [pid] = processes(b"ray::told")
    os.kill(pid, signal.SIGKILL)
    found += runs
    assert [(i, told(run)) for i, run in found] == undisturbed


def test_a_node_that_is_lost_mid_trial_is_replaced(ray_cluster, task, undisturbed):
    runs = trainer.train_together(task, LONG, 3)
    found = [next(runs)]
    ray_cluster.kill(ray_cluster.node_of(*processes(b"ray::told")))
    found += runs
    ray_cluster.add()
    assert [(i, told(run)) for i, run in found] == undisturbed


def test_a_process_that_dies_every_time_is_the_failure_of_the_run(joined, tmp_path):
    with pytest.raises(RemoteError, match="died, 4 times") as caught:
        ask = runner.Ask({"device": "cpu", "spec": "?"}, num_cpus=1)
    assert caught.value.code == PROCESS_DIED


def test_closing_it_frees_the_slot(task):
    runs = trainer.train_together(task, LONG, 3)
    next(runs)
    runs.close()
    wait_until(lambda: not processes(b"ray::told"), "the process of the task is gone")
    assert len(list(trainer.train_together(task, LONG[:1], 3))) == 1
