"""What every trainer does: in this process, a slot or a sandbox, one job gives the same bytes."""

import json
from functools import partial

import pytest

from lrtuner.errors import JobFailedError
from lrtuner.evidence import Environment
from lrtuner.objective import Target
from tests.ray_cluster import task_of
from tests.worker.code.conftest import STEPPED, code_spec, project
from tests.worker.conftest import CPU, ListJournal, pipeline_of, spec_of
from worker import trainer
from worker.device import prepare
from worker.failure import explained
from worker.range_test import one_sweep, run_range_test
from worker.remote import RemoteTask
from worker.rules import Rules
from worker.runners.slot import Slot
from worker.sandbox.limits import Limits
from worker.sandbox.process import Sandbox
from worker.sandbox.trainer import SandboxedTask
from worker.serve import ordered
from worker.task import make_task
from worker.training import full_cost, train

SPEC = spec_of(
    search={"budget": {"full_runs": 12}, "confirm_pairs": 1, "compare": ["schedule_free"]}
)
CODE_SPEC = code_spec(search=SPEC.search.model_dump())
RATES = [0.1] * 20 + [0.05] * 20
TOO_FEW = spec_of(
    model={"name": "gpt"},
    dataset={
        "name": "python_stdlib_text",
        "args": {"max_chars": 10_000, "context_length": 16},
    },
    training={"batch_size": 100_000, "steps": 9},
)


WAYS = [
    "in this process",
    "in a slot",
    "in a sandbox",
    pytest.param("code", marks=pytest.mark.slow),
    pytest.param("in a sandbox on a node", marks=pytest.mark.ray),
]


@pytest.fixture(scope="module", params=WAYS)
def both(request, tmp_path_factory):
    """The task of one job by one of those who train, and in this process."""
    prepare(CPU)
    if request.param == "in this process":
        here = make_task(SPEC, CPU)
        yield here, here
        return
    if request.param == "in a sandbox on a node":
        request.getfixturevalue("joined")
        with task_of(SPEC, rules=Rules(sandbox=True)) as away:
            yield away, make_task(SPEC, CPU)
        return
    if request.param == "in a slot":
        with RemoteTask(SPEC, partial(Slot, ordered(SPEC))) as remote:
            yield remote, make_task(SPEC, CPU)
        return
    folder = None if request.param == "in a sandbox" else tmp_path_factory.mktemp("code")
    spec = SPEC if folder is None else CODE_SPEC
    if folder:
        project(folder, STEPPED)
        folder.chmod(0o755)  # where this is root, the sandbox is not
    start = partial(sandbox, folder)
    with SandboxedTask(spec, start, project=folder) as sandboxed:
        yield sandboxed, make_task(spec, CPU, folder)


@pytest.fixture
def task(both):
    return both[0]


@pytest.fixture
def here(both):
    return both[1]


def sandbox(folder, entry, payload):
    limits = Limits(memory_mb=2048, answer_seconds=60.0)
    return Sandbox(entry, payload, limits=limits, readable=[folder] if folder else [])


def result(run):
    """All of a run but the time that it took."""
    return {name: value for name, value in vars(run).items() if name != "seconds"}


def test_its_sizes_are_those_of_the_task(task, here):
    names = ("total_steps", "batch_size", "steps_per_epoch", "examples_per_evaluation")
    names += ("grad_accum", "examples_per_update")
    assert [getattr(task, n) for n in names] == [getattr(here, n) for n in names]
    assert task.data.digest() == here.data.digest()
    assert len(task.data.validation) == len(here.data.validation)
    assert full_cost(task, test=True) == full_cost(here, test=True)


def test_a_run_is_the_same(task, here):
    assert result(trainer.train(task, RATES, 3)) == result(train(here, RATES, 3))


def test_runs_together_are_the_same_in_the_same_order(task, here):
    sequences = [RATES, RATES[:20], [1e9] * 40, RATES[:20] + [0.01] * 20]
    how = {"test": True, "norms": True, "target": Target(metric="val_loss", value=0.05)}
    found = [(i, result(r)) for i, r in trainer.train_together(task, sequences, 5, **how)]
    wanted = [(i, result(r)) for i, r in trainer.train_together(here, sequences, 5, **how)]
    assert found == wanted
    assert {r["state"] for _, r in found} == {"complete", "diverged"}


def test_a_sweep_and_the_range_test_are_the_same(task, here):
    rates = [1e-4 * 2**i for i in range(20)]
    assert one_sweep(task, rates, 7) == one_sweep(here, rates, 7)
    assert run_range_test(task) == run_range_test(here)


def test_a_comparison_is_the_same(task, here):
    found, wanted = (trainer.compared(t, "prodigy", 30) for t in (task, here))
    assert found == wanted
    found, wanted = (result(trainer.compare(t, "prodigy", 1, 30)) for t in (task, here))
    assert found == wanted


def test_what_training_raises_has_the_same_code_and_words(task, here):
    found, wanted = (_raised(t) for t in (task, here))
    assert found == wanted
    assert found.code == "raised"


def _raised(task):
    """A sweep over no rates at all."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        one_sweep(task, [], 0)
    return explained(caught.value)


@pytest.mark.slow
def test_what_cannot_be_built_is_told_in_the_same_words():
    with pytest.raises(JobFailedError) as wanted:
        make_task(TOO_FEW, CPU)
    with pytest.raises(JobFailedError) as found:
        SandboxedTask(TOO_FEW, partial(sandbox, None))
    assert (found.value.code, str(found.value)) == (wanted.value.code, str(wanted.value))


def test_a_whole_job_gives_the_same_bytes(task, here):
    """Recommendation, records and stages."""
    (found, journal), (wanted, plain) = _job(task), _job(here)
    assert found == wanted
    assert [t.model_dump_json(exclude={"seconds"}) for t in journal.trials] == [
        t.model_dump_json(exclude={"seconds"}) for t in plain.trials
    ]
    assert journal.stages == plain.stages
    assert journal.events[1:] == plain.events[1:] or journal.events[0][0] == "warning"


def _job(task):
    journal = ListJournal()
    pipeline = pipeline_of(task.spec, journal)
    pipeline.task = task
    return pipeline.run().text(), journal


def test_the_walls_are_in_the_environment(task, request):
    way = request.node.callspec.params["both"]
    told = []

    class Journal(ListJournal):
        def event(self, kind, message, phase, data):
            told.append((kind, data))

    search = task.spec.search.model_copy(update={"mode": "range_test"})
    pipeline = pipeline_of(task.spec.model_copy(update={"search": search}), Journal())
    pipeline.task = task
    pipeline.run()
    [found] = [Environment.model_validate(data) for kind, data in told if kind == "environment"]
    walled = isinstance(task, SandboxedTask) or "on a node" in way
    assert bool(found.walls) == walled
    assert json.dumps(found.walls)
