"""Runs to a target: they end at the first evaluation that reaches it, and are charged to there."""

import pytest

from lrtuner.budget import evaluation_steps, run_cost
from lrtuner.lifecycle import TrialState
from lrtuner.objective import Objective, Target
from tests.worker.conftest import task_of
from tests.worker.test_trunks import BLOWN_IN_BRANCH, CONSTANT, STEPPED, assert_as_alone, wsd
from worker.task import Task
from worker.training import full_cost, train

STEPS = 60
UNREACHABLE = Target(metric="val_loss", value=1e-9)
TASKS = {
    "mlp": {"training": {"batch_size": 16, "steps": STEPS}},
    "convnet": {
        "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.3}},
        "dataset": {"name": "digits"},
        "optimizer": {"name": "adamw"},
        "training": {"batch_size": 64, "steps": STEPS},
    },
}


def evaluated_after(task):
    size = len(task.data.validation)
    return evaluation_steps(STEPS, task.batch_size, size, to_target=True)


def reached_early(whole):
    """The loss in the middle of the run as a target."""
    return Target(metric="val_loss", value=whole.curve.val_loss[len(whole.curve.steps) // 2])


@pytest.fixture(params=list(TASKS.values()), ids=list(TASKS))
def task(request):
    return task_of(**request.param)


def test_it_ends_at_the_first_evaluation_that_reaches_the_target(task):
    whole = train(task, CONSTANT, 0, target=UNREACHABLE)
    points = list(zip(whole.curve.steps, whole.curve.val_loss, strict=True))
    middle = reached_early(whole)
    first = next(step for step, loss in points if loss <= middle.value)
    assert 1 < first < STEPS

    run = train(task, CONSTANT, 0, test=True, target=middle)
    assert (run.state, run.updates, run.reason) == (TrialState.COMPLETE, first, None)
    assert run.rates == CONSTANT[:first]
    assert run.curve.steps == [step for step, _ in points if step <= first]
    assert run.metrics["val_loss"] == dict(points)[first]
    assert "test_loss" in run.metrics
    objective = Objective(metric="steps_to_target", target=middle)
    assert objective.value(run.metrics, run.updates) == first


def test_an_accuracy_can_be_the_target(task):
    points = evaluated_after(task)
    halfway = train(task, CONSTANT[: points[len(points) // 2]], 0).metrics["val_accuracy"]
    run = train(task, CONSTANT, 0, target=Target(metric="val_accuracy", value=halfway))
    before = train(task, CONSTANT[: run.curve.steps[-2]], 0)
    assert run.updates <= points[len(points) // 2]
    assert before.metrics["val_accuracy"] < halfway <= run.metrics["val_accuracy"]


def test_without_reaching_it_a_run_is_the_one_without_a_target(task):
    run, plain = train(task, CONSTANT, 0, target=UNREACHABLE), train(task, CONSTANT, 0)
    assert run.state is TrialState.COMPLETE
    assert (run.updates, run.metrics) == (STEPS, plain.metrics)
    objective = Objective(metric="steps_to_target", target=UNREACHABLE)
    assert objective.value(run.metrics, run.updates) is None
    assert objective.loss(run.state, None, run.metrics, STEPS) > STEPS


def test_evaluations_are_denser_and_all_charged(task):
    run, plain = train(task, CONSTANT, 0, target=UNREACHABLE), train(task, CONSTANT, 0)
    assert run.curve.steps == evaluated_after(task)
    assert len(run.curve.steps) >= 3 * len(plain.curve.steps)
    assert run.cost == pytest.approx(full_cost(task, test=False, target=UNREACHABLE))
    assert plain.cost == pytest.approx(full_cost(task, test=False))
    tested = train(task, CONSTANT, 0, test=True, target=UNREACHABLE)
    assert tested.cost == pytest.approx(full_cost(task, test=True, target=UNREACHABLE))


def test_a_run_that_ends_early_costs_what_it_made(task):
    whole = train(task, CONSTANT, 0, target=UNREACHABLE)
    run = train(task, CONSTANT, 0, test=True, target=reached_early(whole))
    seen = len(run.curve.steps) * len(task.data.validation) + len(task.data.test)
    assert run.cost == pytest.approx(run_cost(run.updates, seen, task.batch_size, STEPS))
    assert run.cost < whole.cost


@pytest.mark.parametrize(
    "target",
    [
        Target(metric="val_loss", value=0.75),
        Target(metric="val_loss", value=0.4),
        Target(metric="val_accuracy", value=0.9),
        UNREACHABLE,
    ],
    ids=lambda target: f"{target.metric} {target.value}",
)
def test_in_a_trunk_and_after_it_each_run_is_the_run_alone(target):
    sequences = [wsd(30), STEPPED, CONSTANT[:40], BLOWN_IN_BRANCH, wsd(30)]
    runs = assert_as_alone(task_of(**TASKS["mlp"]), sequences, test=True, target=target)
    if target is UNREACHABLE:
        assert [run.updates for run in runs][:3] == [60, 60, 40]


def test_a_loss_that_is_not_finite_is_no_way_to_an_accuracy(monkeypatch):
    evaluate = Task.evaluate
    broken = {"loss": float("nan"), "accuracy": 1.0}
    monkeypatch.setattr(Task, "evaluate", lambda *args: evaluate(*args) | broken)
    target = Target(metric="val_accuracy", value=0.9)
    run = train(task_of(**TASKS["mlp"]), CONSTANT, 0, test=True, target=target)
    assert run.state is TrialState.DIVERGED
    assert "test_loss" not in run.metrics
