"""Comparison runs: the authors' optimizers as their authors use them, by the loop of all runs."""

import contextlib
import json
from dataclasses import replace
from importlib.metadata import version

import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn

from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.lifecycle import TrialState
from lrtuner.objective import Target
from tests.worker.conftest import fingerprint, loss_of, task_of
from tests.worker.test_training import gradient_norm, spied
from worker import comparison, training
from worker.comparison import compare, cost, described, schedule
from worker.task import Task
from worker.training import full_cost, train

STEPS = 100
MLP = {
    "model": {"name": "mlp", "args": {"hidden": [16], "dropout": 0.2}},
    "training": {"batch_size": 16, "steps": STEPS},
}
CONVNET = {
    "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.2}},
    "dataset": {"name": "digits"},
    "optimizer": {"name": "adamw"},
    "training": {"batch_size": 64, "steps": 40},
}
NAMES = ["schedule_free", "prodigy"]

SGD = {"name": "sgd", "args": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.03}}
ADAM = {"name": "adam", "args": {"betas": [0.7, 0.95], "eps": 1e-6, "weight_decay": 0.03}}
ADAMW = {**ADAM, "name": "adamw"}
RMSPROP = {"name": "rmsprop", "args": {"alpha": 0.9, "eps": 1e-6, "weight_decay": 0.03}}

SGD_ARGS = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.03}
ADAMW_ARGS = {"lr": 0.0025, "betas": [0.9, 0.95], "eps": 1e-6, "weight_decay": 0.03}
PRODIGY_ARGS = {"lr": 1.0, "betas": [0.7, 0.95], "eps": 1e-6, "weight_decay": 0.03}

CHOSEN = [
    ("schedule_free", SGD, "SGDScheduleFree", SGD_ARGS),
    ("schedule_free", ADAMW, "AdamWScheduleFree", ADAMW_ARGS),
    ("schedule_free", ADAM, "AdamWScheduleFree", ADAMW_ARGS | {"weight_decay": 0.0}),
    (
        "schedule_free",
        RMSPROP,
        "AdamWScheduleFree",
        ADAMW_ARGS | {"betas": [0.9, 0.9], "weight_decay": 0.0},
    ),
    ("prodigy", SGD, "Prodigy", {"lr": 1.0, "decouple": False, "weight_decay": 0.03}),
    ("prodigy", ADAMW, "Prodigy", PRODIGY_ARGS | {"decouple": True}),
    ("prodigy", ADAM, "Prodigy", PRODIGY_ARGS | {"decouple": False}),
    ("prodigy", RMSPROP, "Prodigy", PRODIGY_ARGS | {"decouple": False, "betas": [0.9, 0.9]}),
]
IDS = [f"{name}, {optimizer['name']}" for name, optimizer, *_ in CHOSEN]


def by_hand(task, kind, args, seed):
    """The loop as the authors' READMEs have it; the trained model and its optimizer."""
    model, steps = task.model(seed), task.total_steps
    averages = kind is not prodigyopt.Prodigy
    with contextlib.redirect_stdout(None):
        own = {"warmup_steps": round(0.05 * steps)} if averages else {}
        optimizer = kind(model.parameters(), **args, **own)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if averages:
        optimizer.train()
    for batch in task.batches(seed, steps):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        if not averages:
            cosine.step()
    return model, optimizer


@pytest.mark.parametrize(("name", "optimizer", "kind", "args"), CHOSEN, ids=IDS)
def test_a_run_is_the_loop_that_its_authors_write(name, optimizer, kind, args):
    task = task_of(**MLP, optimizer=optimizer)
    package = prodigyopt if name == "prodigy" else schedulefree
    model, trained = by_hand(task, getattr(package, kind), args, seed=3)
    if name == "schedule_free":
        trained.eval()
    run = compare(task, name, seed=3)
    for split, expected in (("val", task.data.validation), ("test", task.data.test)):
        for metric, value in task.evaluate(model, expected).items():
            assert run.metrics[f"{split}_{metric}"] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("name", "optimizer", "kind", "args"), CHOSEN, ids=IDS)
def test_the_record_says_what_was_trained_with(name, optimizer, kind, args):
    package = "prodigyopt" if name == "prodigy" else "schedulefree"
    told = described(task_of(**MLP, optimizer=optimizer), name)
    assert told == {
        "optimizer": f"{package}.{kind}",
        "args": args,
        "package": f"{package} {version(package)}",
    }
    assert json.loads(json.dumps(told)) == told


def test_the_schedule_is_what_the_authors_advise():
    task = task_of(**MLP)
    free, prodigy = schedule(task, "schedule_free"), schedule(task, "prodigy", steps=40)
    assert free.values()[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert (free.total_steps, free(99)) == (STEPS, 1.0)
    assert prodigy.total_steps == 40
    assert (prodigy(0), prodigy(20), prodigy(40)) == pytest.approx((1.0, 0.5, 0.0))
    assert schedule(task, "schedule_free", steps=10).warmup is None


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_are_the_schedule_and_the_length_can_be_chosen(name):
    task = task_of(**MLP)
    run = compare(task, name, 0, steps=30)
    assert run.rates == schedule(task, name, 30).values().tolist()
    assert run.updates == 30


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [MLP, CONVNET], ids=["mlp", "convnet"])
def test_evaluation_changes_nothing(name, changes, monkeypatch):
    task, points = task_of(**changes), [3, 10, 11]
    monkeypatch.setattr(training, "evaluation_steps", lambda steps, *_, **__: [*points, steps])
    often = compare(task, name, 0)
    points.clear()
    once = compare(task, name, 0)
    assert (len(often.curve.steps), len(once.curve.steps)) == (4, 1)
    assert often.metrics == once.metrics


def test_batch_norm_is_evaluated_with_statistics_of_the_average_weights():
    task = task_of(**CONVNET)
    run = compare(task, "schedule_free", 0)
    args = {"lr": 0.0025, "weight_decay": 0.01}
    model, optimizer = by_hand(task, schedulefree.AdamWScheduleFree, args, seed=0)
    optimizer.eval()
    stale = task.evaluate(model, task.data.validation)["loss"]
    norm = next(module for module in model if isinstance(module, nn.BatchNorm2d))
    norm.reset_running_stats()
    norm.momentum = None  # the mean over the batches
    with torch.no_grad():
        for inputs, _ in task.batches(0, task.steps_per_epoch):
            model.train()(inputs)
    fresh = task.evaluate(model, task.data.validation)["loss"]
    assert run.metrics["val_loss"] == pytest.approx(fresh, rel=1e-5)
    assert abs(stale - fresh) > 1e-3 * fresh


def test_no_more_than_fifty_batches_refresh_the_statistics(monkeypatch):
    task = task_of(**CONVNET)
    assert task.steps_per_epoch == 19
    whole_epoch = cost(task, "schedule_free")
    monkeypatch.setattr(comparison, "REFRESH_BATCHES", 5)
    assert cost(task, "schedule_free") == pytest.approx(whole_epoch - 14 / 3 / 40)


@pytest.mark.parametrize("changes", [MLP, CONVNET], ids=["mlp", "convnet"])
def test_while_it_is_evaluated_the_model_has_other_weights_and_then_the_same(changes):
    task = comparison._compared(task_of(**changes), "schedule_free")
    model = task.model(0)
    optimizer = task.optimizer(model, lr=0.1)
    for batch in task.batches(0, 5):
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    before = fingerprint(model, optimizer)
    states = {name: value.clone() for name, value in model.state_dict().items()}
    with task.evaluating(model, optimizer, 0):
        changed = {n for n, v in model.state_dict().items() if not torch.equal(v, states[n])}
        assert changed == set(states)
    assert fingerprint(model, optimizer) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [None, 30])
def test_it_costs_what_any_run_costs(name, steps):
    task = task_of(**MLP)
    run = compare(task, name, 0, steps)
    assert run.cost == pytest.approx(cost(task, name, steps))
    assert run.cost == pytest.approx(full_cost(task, test=True, steps=steps))
    assert run.state is TrialState.COMPLETE


def test_asking_what_it_costs_moves_no_generator():
    before = torch.get_rng_state()
    assert cost(task_of(**CONVNET), "schedule_free") > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_what_refreshes_statistics_is_charged(monkeypatch):
    task, seen, updates = task_of(**CONVNET), [], []
    make = comparison._ScheduleFree.model

    def counted(self, seed):
        model = make(self, seed)
        model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        return model

    loss = Task.loss

    def counting(self, model, batch):
        updates.extend([1] * torch.is_grad_enabled())
        return loss(self, model, batch)

    monkeypatch.setattr(comparison._ScheduleFree, "model", counted)
    monkeypatch.setattr(Task, "loss", counting)
    run = compare(task, "schedule_free", 0)
    forward = sum(seen) - len(updates) * task.batch_size
    spent = (len(updates) + forward / 3 / task.batch_size) / task.total_steps
    assert run.cost == pytest.approx(spent) == pytest.approx(cost(task, "schedule_free"))
    assert forward > len(task.data.validation) + len(task.data.test)


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_where_the_target_is_reached(name):
    target = Target(metric="val_accuracy", value=0.9)
    objective = {"metric": "steps_to_target", "target": target.model_dump()}
    run = compare(task_of(**MLP, objective=objective), name, 0)
    assert run.state is TrialState.COMPLETE
    assert run.updates < STEPS
    assert run.metrics["val_accuracy"] >= 0.9
    assert "test_loss" in run.metrics


@pytest.mark.parametrize("name", NAMES)
def test_its_gradients_are_clipped_as_the_job_says(name, monkeypatch):
    norms = spied(monkeypatch, gradient_norm)
    compare(task_of(training={"batch_size": 16, "steps": 20, "grad_clip_norm": 1e-3}), name, 0)
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


def test_nothing_is_printed(capsys):
    compare(task_of(optimizer=ADAMW), "prodigy", 0)
    assert capsys.readouterr() == ("", "")


def test_the_task_itself_trains_as_before():
    task = task_of(**CONVNET)
    before = train(task, [0.01] * 10, 0).metrics
    compare(task, "schedule_free", 0)
    assert train(task, [0.01] * 10, 0).metrics == before


def test_an_unknown_name_is_refused():
    with pytest.raises(InvalidInputError, match="one of schedule_free, prodigy, got 'adagrad'"):
        compare(task_of(), "adagrad", 0)


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_that_nothing_stands_for_is_refused(name):
    task = task_of()
    other = task.spec.model_copy(update={"optimizer": task.spec.model})
    with pytest.raises(UnsupportedError, match=f"{name} knows nothing like optimizer 'mlp'"):
        compare(replace(task, spec=other), name, 0)
