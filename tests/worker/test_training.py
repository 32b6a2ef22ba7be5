"""The plain loop: exact rates, determinism, divergence, and what a run costs."""

import math

import pytest
import torch
from torch import nn

from lrtuner.errors import JobFailedError
from lrtuner.lifecycle import TrialState
from tests.worker.conftest import spec_of, task_of
from worker.range_test import run_range_test
from worker.task import Task, make_task
from worker.training import full_cost, train

RATES = [0.1 * (1 - t / 40) for t in range(40)]


def spied(monkeypatch, look):
    """What `look` sees in the optimizer whenever it steps, after all that the task does."""
    seen = []
    make = Task.optimizer

    def making(*args, **kwargs):
        optimizer = make(*args, **kwargs)
        optimizer.register_step_pre_hook(lambda opt, *_: seen.append(look(opt)))
        return optimizer

    monkeypatch.setattr(Task, "optimizer", making)
    return seen


def rate(optimizer):
    return optimizer.param_groups[0]["lr"]


def gradient_norm(optimizer):
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
    return math.sqrt(sum(float((g**2).sum()) for g in gradients if g is not None))


def test_update_t_uses_exactly_the_rate_t(monkeypatch):
    used = spied(monkeypatch, rate)
    assert train(task_of(), RATES, seed=1).state is TrialState.COMPLETE
    assert used == RATES


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd"},
        {"name": "sgd", "args": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        {"name": "adam"},
        {"name": "adamw", "args": {"betas": [0.8, 0.95]}},
        {"name": "rmsprop", "args": {"momentum": 0.5}},
    ],
    ids=lambda o: o["name"],
)
def test_the_loop_equals_a_loop_written_by_hand(optimizer):
    task = task_of(optimizer=optimizer)
    run = train(task, [0.01] * 40, seed=3)

    model = task.model(3)
    args = dict(optimizer.get("args", {}))
    native = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    opt = getattr(torch.optim, native[optimizer["name"]])(model.parameters(), lr=0.01, **args)
    for inputs, targets in task.batches(3, 40):
        opt.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        opt.step()
    assert run.metrics["val_loss"] == pytest.approx(
        task.evaluate(model, task.data.validation)["loss"], rel=1e-4
    )


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    task = task_of(model={"name": "mlp", "args": {"hidden": [16], "dropout": 0.3}})
    first, again, other = (train(task, RATES, seed) for seed in (1, 1, 2))
    assert first.metrics == again.metrics
    assert first.curve == again.curve
    assert first.metrics != other.metrics


def test_it_learns():
    run = train(task_of(), RATES, seed=0, test=True)
    assert run.metrics["val_loss"] < 0.3
    assert run.metrics["val_accuracy"] > 0.9
    assert run.metrics["test_accuracy"] > 0.9
    assert run.curve.steps[-1] == 40
    assert run.curve.train_loss[0] > run.curve.train_loss[-1]


@pytest.mark.parametrize("rate", [1e4, 1e30])
def test_a_run_that_blows_up_ends_early_and_says_where(rate):
    task = task_of(training={"batch_size": 16, "steps": 400})
    run = train(task, [rate] * 400, seed=0)
    assert run.state is TrialState.DIVERGED
    assert run.updates <= 50
    assert "loss" in run.reason
    assert 0 < run.cost < 0.2


def test_a_slow_start_is_no_divergence():
    assert train(task_of(), [1e-9] * 40, seed=0).state is TrialState.COMPLETE


def test_the_cost_counts_updates_and_evaluations():
    task = task_of()
    assert train(task, RATES, seed=0).cost == pytest.approx(full_cost(task, test=False))
    assert train(task, RATES, seed=0, test=True).cost == pytest.approx(full_cost(task, test=True))
    assert 1.0 < full_cost(task, test=False) < full_cost(task, test=True) < 1.2


@pytest.mark.parametrize(
    "trains", [lambda task: train(task, [0.1] * 5, seed=0), run_range_test], ids=["run", "test"]
)
def test_clipping_bounds_the_gradient_of_every_step(trains, monkeypatch):
    training = {"batch_size": 16, "steps": 20, "grad_clip_norm": 1e-3}
    norms = spied(monkeypatch, gradient_norm)
    trains(task_of(training=training, search={"mode": "range_test"}))
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


def test_batches_are_reshuffled_each_epoch_and_see_every_example_at_most_once():
    task = task_of()
    per_epoch = task.steps_per_epoch
    seen = [inputs for inputs, _ in task.batches(0, 2 * per_epoch)]
    assert len(seen) == 2 * per_epoch
    first, second = torch.cat(seen[:per_epoch]), torch.cat(seen[per_epoch:])
    assert len(torch.unique(first, dim=0)) == len(first)
    assert not torch.equal(first, second)


def test_evaluation_changes_nothing():
    task = task_of(
        model={"name": "convnet", "args": {"channels": [4], "dropout": 0.5}},
        dataset={"name": "digits"},
    )
    model = task.model(0).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert task.evaluate(model, task.data.test) == task.evaluate(model, task.data.test)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_text_model_learns_text():
    task = task_of(
        model={"name": "gpt", "args": {"width": 16, "num_layers": 1, "num_heads": 2}},
        dataset={
            "name": "python_stdlib_text",
            "args": {"max_chars": 20_000, "context_length": 16},
        },
        optimizer={"name": "adamw"},
        training={"batch_size": 32, "steps": 60},
    )
    run = train(task, [3e-3] * 60, seed=0)
    assert run.metrics["val_loss"] < math.log(97) - 0.5
    inputs, targets = next(task.batches(0, 1))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    first = task.loss(task.model(0), (inputs, targets)).item()
    assert first == pytest.approx(math.log(97), abs=0.1)


def test_a_text_model_does_not_look_ahead():
    task = task_of(
        model={"name": "gpt", "args": {"width": 16, "num_layers": 2, "num_heads": 2}},
        dataset={
            "name": "python_stdlib_text",
            "args": {"max_chars": 20_000, "context_length": 16},
        },
    )
    model = task.model(0).eval()
    tokens = task.data.train.inputs[:4].clone()
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 97
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.equal(before[:, 9:], after[:, 9:])


def test_a_job_whose_lengths_do_not_fit_the_data_is_refused_before_training():
    text = {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}}
    spec = spec_of(
        model={"name": "gpt"}, dataset=text, training={"batch_size": 100_000, "steps": 9}
    )
    with pytest.raises(JobFailedError, match="larger than the training split"):
        make_task(spec, torch.device("cpu"))
