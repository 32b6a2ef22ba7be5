"""Questions to a task on a cluster: of nodes that die, that differ, and that have GPUs."""

import os
import signal

import pytest

from lrtuner import __version__
from lrtuner.errors import JobFailedError
from tests.ray_cluster import DATABASE, ask_of, processes, task_of, wait_until
from tests.worker.conftest import CPU, spec_of
from worker import trainer
from worker.device import prepare
from worker.remote import PROCESS_DIED, RemoteError
from worker.runners.errors import RunnerError
from worker.task import make_task

ray = pytest.importorskip("ray", reason="needs Ray: make test-ray")
runner = pytest.importorskip("worker.runners.ray")

pytestmark = pytest.mark.ray

SPEC = spec_of(training={"batch_size": 16, "steps": 3000})
LONG = [[0.05] * 40, [0.05] * 3000, [0.01] * 3000]


@pytest.fixture
def task(joined):
    with task_of(SPEC) as task:
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


def test_a_process_that_dies_every_time_fails_the_run(joined, monkeypatch):
    monkeypatch.setattr(runner.node, "told", dies)
    with pytest.raises(RemoteError, match="died, 2 times") as caught:
        runner.RayLink(ask_of(SPEC))
    assert caught.value.code == PROCESS_DIED


def dies(order, asked):
    """Runs on a node."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield b""


def test_closing_it_frees_the_slot(task):
    runs = trainer.train_together(task, LONG, 3)
    next(runs)
    runs.close()
    wait_until(lambda: not processes(b"ray::told"), "the process of the task is gone")
    assert len(list(trainer.train_together(task, LONG[:1], 3))) == 1


def test_its_answers_come_in_their_order(task, monkeypatch):
    link = task._link
    link.send({"number": 7, "ask": "describe"})
    link._place = 1
    with pytest.raises(RemoteError, match="answer 0 in place of 1"):
        link._next(1 << 20)
    assert link.ended


def test_an_answer_that_is_too_large_is_refused(task):
    task._link.send({"number": 7, "ask": "describe"})
    with pytest.raises(RemoteError, match="at most 10 are allowed"):
        task._link.receive(10)


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"lrtuner": "0.0.1"}, "lrtuner 0.0.1 is on the node other, and"),
        ({"digest": "sha256:b"}, "dataset: the data on the node other is not that of the nodes"),
    ],
)
def test_a_node_that_differs_ends_the_job_and_fails_no_run(differs, told):
    ask = ask_of(SPEC)
    same = {"node": "one", "lrtuner": __version__, "digest": "sha256:a"}
    ask.check({**same, "digest": None})
    ask.check(same)
    ask.check(same)
    with pytest.raises(RunnerError, match=told):
        ask.check({**same, "node": "other", **differs})


def test_what_cannot_be_built_names_the_node(joined):
    ask = ask_of(spec_of(dataset={"source": "path", "path": "missing.csv", "args": {}}))
    with pytest.raises(RemoteError, match=r"LRTUNER_DATA_ROOT.*\(on the node ") as caught:
        runner.RayLink(ask)
    assert caught.value.code == "job_failed"


def test_data_that_one_node_alone_lacks_fails_no_run():
    ask, code = ask_of(SPEC), JobFailedError.code
    assert type(ask.not_built(code, "dataset.path: no such file")) is RemoteError
    ask.check({"node": "one", "lrtuner": __version__, "digest": "sha256:a"})
    assert type(ask.not_built(code, "dataset.path: no such file")) is RunnerError
    assert type(ask.not_built("out_of_memory", "...")) is RemoteError


def test_a_node_has_folders_of_its_own(ray_cluster, joined, tmp_path):
    (tmp_path / "few.csv").write_text(
        "a,b,label\n" + "".join(f"{i},{-i},{i % 2}\n" for i in range(90))
    )
    node = ray_cluster.add(num_gpus=1, LRTUNER_DATA_ROOT=str(tmp_path))
    ask = ask_of(
        spec_of(dataset={"source": "path", "path": "few.csv", "args": {"target": "label"}}),
        num_gpus=1,  # there alone
    )
    try:
        assert runner.RayLink(ask).environment.dataset_digest.startswith("sha256:")
    finally:
        ray_cluster.kill(node)


def test_a_task_has_no_database_and_one_thread(joined):
    found = ray.get(ray.remote(num_cpus=1)(surroundings).remote())
    assert found == dict.fromkeys(DATABASE) | {"CUDA_VISIBLE_DEVICES": "", "threads": 1}


def surroundings():
    """Runs on a node, as `told` does."""
    import torch  # noqa: PLC0415

    list(runner.node.told(ask_of(SPEC)._order, None))
    names = (*DATABASE, "CUDA_VISIBLE_DEVICES")
    return {name: os.environ.get(name) for name in names} | {"threads": torch.get_num_threads()}


def test_each_task_takes_the_gpu_that_it_is_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(runner.node, "choose_device", lambda name: name)
    for index in (1, 0):
        monkeypatch.setattr(ray, "get_gpu_ids", lambda index=index: [index])
        assert runner.node._device("cuda") == f"cuda:{index}"
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
