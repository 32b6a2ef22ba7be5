"""What a task decides: data, loss and evaluation may be of any kind, whoever trains."""

from dataclasses import fields

import pytest

from lrtuner.lifecycle import TrialState
from tests.worker.conftest import task_of
from worker.comparison import compare
from worker.range_test import run_range_test
from worker.task import Task
from worker.training import train

CONVNET = {"model": {"name": "convnet", "args": {"channels": [4]}}, "dataset": {"name": "digits"}}


class OwnTask(Task):
    """Batches that are no pairs of tensors, half the usual loss, one metric of its own."""

    def batches(self, seed, count, start=0):
        for inputs, targets in super().batches(seed, count, start):
            yield {"x": inputs, "y": targets}

    def held_out(self, seed, count):
        inputs, targets = super().held_out(seed, count)
        return {"x": inputs, "y": targets}

    def loss(self, model, batch):
        return super().loss(model, (batch["x"], batch["y"])) / 2

    def evaluate(self, model, split):
        return {"loss": super().evaluate(model, split)["loss"] / 2, "own": 7.0}


def own(**changes):
    task = task_of(**changes)
    return OwnTask(**{field.name: getattr(task, field.name) for field in fields(task)})


def test_training_asks_the_task_for_batches_loss_and_evaluation():
    rates = [0.02] * 20
    halved, usual = train(own(), [2 * r for r in rates], 0), train(task_of(), rates, 0)
    assert halved.metrics["val_own"] == 7.0
    assert halved.metrics["val_loss"] == pytest.approx(usual.metrics["val_loss"] / 2, rel=1e-4)
    assert halved.curve.train_loss[0] == pytest.approx(usual.curve.train_loss[0] / 2, rel=1e-4)


def test_so_does_the_range_test():
    changes = {"search": {"budget": {"full_runs": 28}}, "range_test": {"held_out": 20}}
    halved, usual = run_range_test(own(**changes)), run_range_test(task_of(**changes))
    assert halved.status != "failed"
    for part in ("losses", "held_out"):
        mine, theirs = (getattr(found.sweeps[0], part)[0] for found in (halved, usual))
        assert mine == pytest.approx(theirs / 2, rel=1e-4)


@pytest.mark.parametrize("name", ["schedule_free", "prodigy"])
def test_so_do_comparisons_batch_norm_included(name):
    run = compare(own(training={"batch_size": 32, "steps": 20}, **CONVNET), name, 0)
    assert run.state is TrialState.COMPLETE
    assert run.metrics["val_own"] == run.metrics["test_own"] == 7.0
