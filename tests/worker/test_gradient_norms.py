"""Gradient norms along a run: whose they are, how they are condensed, and that they cost no bit."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lrtuner.lifecycle import TrialState
from lrtuner.objective import Target
from lrtuner.refine import refined
from tests.worker.conftest import loss_of, task_of
from tests.worker.test_trunks import BLOWN_IN_BRANCH, CONSTANT, STEPS, TASKS, result, together, wsd
from worker import training
from worker.task import Task
from worker.training import NORM_PARTS, train

CLIPPED = {"batch_size": 16, "steps": 40, "grad_clip_norm": 1e-2}


def norms_by_hand(task, rates, seed, order):
    model = task.model(seed)
    optimizer = task.optimizer(model, lr=rates[0])
    norms = []
    for rate, batch in zip(rates, task.batches(seed, len(rates)), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        sizes = [abs(x) for p in model.parameters() for x in p.grad.flatten().tolist()]
        norms.append(math.fsum(x**order for x in sizes) ** (1 / order))
        optimizer.step()
    return norms


@pytest.mark.parametrize(("name", "order"), [("sgd", 2), ("adam", 1), ("adamw", 1), ("rmsprop", 1)])
def test_there_is_one_per_update_of_the_whole_gradient_before_it_is_clipped(name, order):
    task = task_of(optimizer={"name": name}, training=CLIPPED)
    rates = wsd(20, steps=40)
    run = train(task, rates, seed=3, norms=True)
    assert run.gradient_norms == pytest.approx(norms_by_hand(task, rates, 3, order), rel=1e-5)
    assert max(run.gradient_norms) > 10 * CLIPPED["grad_clip_norm"]
    assert len(refined(run.gradient_norms, exponent=task.spec.optimizer.norm_order)) == 40


@pytest.mark.parametrize("changes", TASKS.values(), ids=TASKS)
def test_the_training_is_the_same_bit_for_bit(changes):
    task, sequences = task_of(**changes), [wsd(30), CONSTANT, wsd(12)]
    plain = together(task, sequences, test=True)
    for run, other in zip(plain, together(task, sequences, test=True, norms=True), strict=True):
        assert run.gradient_norms is None
        assert len(other.gradient_norms) == STEPS
        assert result(replace(other, gradient_norms=None)) == result(run)


def test_each_branch_has_those_of_its_whole_run():
    task, sequences = task_of(), [wsd(30), wsd(20), CONSTANT[:45]]
    for rates, run in zip(sequences, together(task, sequences, norms=True), strict=True):
        assert run.gradient_norms == train(task, rates, 3, norms=True).gradient_norms
        assert len(run.gradient_norms) == len(rates)


@pytest.mark.parametrize(
    ("steps", "lengths"),
    [(256, [1] * 256), (600, [3] * 88 + [2] * 168)],
)
def test_those_of_a_longer_run_are_means_over_parts_as_equal_as_can_be(steps, lengths, monkeypatch):
    task, rates = task_of(), [0.01] * steps
    condensed = train(task, rates, 0, norms=True).gradient_norms
    monkeypatch.setattr(training, "NORM_PARTS", 10_000)
    every = train(task, rates, 0, norms=True).gradient_norms
    assert (len(condensed), len(every)) == (NORM_PARTS, steps)
    parts = np.split(every, np.cumsum(lengths)[:-1])
    assert condensed == pytest.approx([part.mean() for part in parts], rel=1e-12)


def test_a_run_that_ended_early_has_none():
    diverged, complete = together(task_of(), [BLOWN_IN_BRANCH, CONSTANT], norms=True)
    assert diverged.state is TrialState.DIVERGED
    assert diverged.gradient_norms is None
    assert len(complete.gradient_norms) == STEPS
    at_once = Target(metric="val_loss", value=100.0)
    assert train(task_of(), CONSTANT, 0, norms=True, target=at_once).gradient_norms is None


def test_a_run_whose_last_evaluation_ended_it_has_none(monkeypatch):
    evaluate = Task.evaluate
    broken = {"loss": float("inf")}
    monkeypatch.setattr(Task, "evaluate", lambda *args: evaluate(*args) | broken)
    run = train(task_of(), [0.02] * 5, 0, norms=True)
    assert (run.updates, run.state) == (5, TrialState.DIVERGED)
    assert run.gradient_norms is None
