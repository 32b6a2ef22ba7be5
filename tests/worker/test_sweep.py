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
    assert 0.05 < found.suggestion.peaks["decaying"].lr < 1.0
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


def two_groups():
    """A model whose second layer has a tenth of the rate."""
    task, model, _ = subject()
    first, *rest = list(model.parameters())
    groups = [{"params": [first], "lr": 0.02}, {"params": rest, "lr": 0.002}]
    return task, model, torch.optim.SGD(groups, momentum=0.9)


def test_param_groups_are_swept_by_a_common_factor():
    task, model, optimizer = two_groups()
    used = []
    optimizer.register_step_pre_hook(
        lambda opt, *_: used.append([group["lr"] for group in opt.param_groups])
    )
    told = sweep(model, optimizer, task.batches(1, 60), loss_of, RATES, seed=1)
    assert [rates[0] for rates in used] == RATES[: told.updates]
    assert all(small == pytest.approx(0.1 * large, rel=1e-15) for large, small in used)
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.002]


def test_accumulation_counts_real_steps_and_is_the_mean_over_micro_batches():
    task, model, optimizer = subject()
    batches = list(task.batches(1, 60))
    halves = [(x[i::2], y[i::2]) for x, y in batches for i in (0, 1)]
    rates = RATES[:30]
    whole = sweep(model, optimizer, batches, loss_of, rates, seed=1)
    parts = sweep(model, optimizer, halves, loss_of, rates, seed=1, accumulate=2)
    assert parts.updates == whole.updates == 30
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)


def test_the_sweep_ends_with_the_data():
    task, model, optimizer = subject()
    told = sweep(model, optimizer, task.batches(1, 7), loss_of, RATES, seed=1, accumulate=2)
    assert told.updates == 3
    assert told.losses[3:] == [None] * 57


def test_a_step_skipped_by_the_scaler_is_made_again_at_the_same_rate():
    task, model, optimizer = subject()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    used, calls = [], 0
    optimizer.register_step_post_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))

    def loss(net, inputs, targets):
        nonlocal calls
        calls += 1
        value = loss_of(net, inputs, targets)
        return value * float("inf") if calls in (4, 5, 9) else value

    before = scaler.state_dict()
    told = sweep(model, optimizer, task.batches(1, 40), loss, RATES[:20], seed=1, scaler=scaler)
    assert told.updates == 20
    assert calls == 23
    assert all(x is not None for x in told.losses)
    assert sorted(set(used)) == RATES[:20]
    assert scaler.state_dict() == before


def test_a_scaler_that_never_finds_a_scale_ends_the_sweep():
    task, model, optimizer = subject()
    scaler = torch.amp.GradScaler("cpu")

    def loss(net, inputs, targets):
        return loss_of(net, inputs, targets) * float("inf")

    told = sweep(model, optimizer, task.batches(1, 60), loss, RATES, seed=1, scaler=scaler)
    assert told.updates == 0


class Loader:
    """Batches from a position that it can save."""

    def __init__(self, batches):
        self.batches, self.position = batches, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        return self.batches[self.position - 1]

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state_dict):
        self.position = state_dict["position"]


def test_a_loader_is_put_back_to_its_position():
    task, model, optimizer = subject()
    loader = Loader(list(task.batches(1, 60)))
    next(loader), next(loader)
    told = sweep(model, optimizer, loader, loss_of, RATES[:20], seed=1, loader=loader)
    assert told.updates == 20
    assert loader.position == 2


def test_a_buffer_that_is_not_saved_is_restored_too():
    task, model, optimizer = subject()
    model.register_buffer("seen", torch.zeros(1), persistent=False)

    def loss(net, inputs, targets):
        net.seen += 1
        return loss_of(net, inputs, targets)

    sweep(model, optimizer, task.batches(1, 60), loss, RATES[:10], seed=1)
    assert model.seen.item() == 0


def test_a_state_that_cannot_be_restored_is_an_error():
    task, model, optimizer = subject()
    loader = Loader(list(task.batches(1, 60)))
    loader.load_state_dict = lambda state_dict: None
    with pytest.raises(RuntimeError, match="could not be restored"):
        sweep(model, optimizer, loader, loss_of, RATES[:10], seed=1, loader=loader)
