"""The sweep: exact rates, exact number of updates, and nothing left behind on any way out."""

import hashlib
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn

from lrtuner.range_test import sweep_rates
from tests.worker.conftest import task_of
from worker.optimizers import make_optimizer
from worker.range_test import run_range_test
from worker.sweep import CHECK_EVERY, sweep
from worker.task import loss_of

RATES = sweep_rates(1e-6, 10.0, 60)
CONVNET = {
    "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.2}},
    "dataset": {"name": "digits"},
}
OPTIMIZERS = [{"name": "sgd", "args": {"momentum": 0.9}}, {"name": "adamw"}, {"name": "rmsprop"}]


def subject(**changes):
    """A model and an optimizer that have trained a little, so that there is state to lose."""
    task = task_of(**changes)
    model = task.model(0)
    optimizer = make_optimizer(task.spec.optimizer, model.parameters(), lr=0.05)
    for inputs, targets in task.batches(7, 3):
        optimizer.zero_grad()
        loss_of(model, inputs, targets).backward()
        optimizer.step()
    return task, model, optimizer


def fingerprint(model, optimizer):
    """A hash of everything that must not change."""
    parts = [
        [(k, v.numpy().tobytes()) for k, v in model.state_dict().items()],
        [None if p.grad is None else p.grad.numpy().tobytes() for p in model.parameters()],
        [m.training for m in model.modules()],
        optimizer.state_dict()["param_groups"],
        [
            (i, k, v.numpy().tobytes() if isinstance(v, torch.Tensor) else v)
            for i, state in optimizer.state_dict()["state"].items()
            for k, v in state.items()
        ],
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        torch.get_rng_state().numpy().tobytes(),
    ]
    return hashlib.sha256(pickle.dumps(parts)).hexdigest()


def test_the_recorded_rate_is_the_used_rate_bit_for_bit():
    task, model, optimizer = subject()
    used = []
    optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    told = sweep(model, optimizer, task.batches(1, 60), loss_of, RATES, seed=1)
    assert told.updates == len(used)
    assert used == RATES[: told.updates]
    assert told.lrs == RATES


@pytest.mark.parametrize("optimizer_spec", OPTIMIZERS, ids=lambda o: o["name"])
@pytest.mark.parametrize("fault", [None, "raises", "nan"])
@pytest.mark.parametrize("model_spec", [{}, CONVNET], ids=["mlp", "convnet"])
def test_everything_is_restored(optimizer_spec, fault, model_spec):
    task, model, optimizer = subject(optimizer=optimizer_spec, **model_spec)
    model.eval()
    model[-1].train()  # a mixture of modes must come back as well
    before = fingerprint(model, optimizer)
    calls = 0

    def loss(net, inputs, targets):
        nonlocal calls
        calls += 1
        random.random(), np.random.rand()
        value = loss_of(net, inputs, targets)
        if fault == "raises" and calls == 13:
            raise ValueError("broken batch")
        return value * float("nan") if fault == "nan" and calls >= 13 else value

    if fault == "raises":
        with pytest.raises(ValueError, match="broken batch"):
            sweep(model, optimizer, task.batches(1, 60), loss, RATES, seed=1)
    else:
        told = sweep(model, optimizer, task.batches(1, 60), loss, RATES, seed=1)
        assert told.updates > 10
    assert fingerprint(model, optimizer) == before
    assert model.training is False
    assert model[-1].training is True


def test_the_fingerprint_sees_a_change():
    _task, model, optimizer = subject(**CONVNET)
    before = fingerprint(model, optimizer)
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).running_mean += 1e-6
    assert fingerprint(model, optimizer) != before


def test_nan_ends_the_sweep_at_the_next_look_and_is_recorded_as_null():
    task, model, optimizer = subject()
    calls = 0

    def loss(net, inputs, targets):
        nonlocal calls
        calls += 1
        return loss_of(net, inputs, targets) * (float("nan") if calls > 23 else 1.0)

    told = sweep(model, optimizer, task.batches(1, 60), loss, RATES, seed=1)
    assert told.updates == 30
    assert told.updates % CHECK_EVERY == 0
    assert [x is None for x in told.losses] == [False] * 23 + [True] * 37


def test_a_divergence_ends_the_sweep():
    task, model, optimizer = subject()
    told = sweep(model, optimizer, task.batches(1, 60), loss_of, sweep_rates(1e-6, 1e6, 60), seed=1)
    assert told.updates < 60
    assert len(told.losses) == 60


def test_the_same_seed_gives_the_same_sweep():
    first, again = run_range_test(task_of()), run_range_test(task_of())
    assert first == again
    assert len(first.sweeps) == 3
    assert len({s.seed for s in first.sweeps}) == 3


def test_the_range_test_of_a_real_task_finds_where_it_diverges():
    task = task_of(
        model={"name": "mlp", "args": {"hidden": [64]}},
        dataset={"name": "digits"},
        training={"batch_size": 64, "epochs": 10},
        search={"budget": {"full_runs": 30}},
    )
    found = run_range_test(task)
    assert found.status == "ok"
    assert 0.05 < found.suggestion.decaying < 1.0
    assert found.cost <= 3.0


def test_a_model_that_raises_ends_the_sweeps_and_not_the_job():
    task = task_of()
    broken = type(task)(
        spec=task.spec,
        data=task.data,
        build_model=lambda: nn.Linear(1, 1),
        device=task.device,
        total_steps=40,
    )
    found = run_range_test(broken)
    assert found.status == "failed"
    assert "RuntimeError" in found.message
    assert found.suggestion.source == "optimizer_default"


def test_a_budget_too_small_for_a_sweep_is_said():
    found = run_range_test(task_of(search={"budget": {"full_runs": 3}}))
    assert found.status == "too_few_points"
    assert found.cost == 0
