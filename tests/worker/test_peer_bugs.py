"""The mistakes that other finders make, reproduced with them: none of them is ours.

Each test is named after the mistake. Found in Lightning 2.6 (the first two), ignite 0.5 (rates that
are shifted), all of fastai 2.8, Lightning, torch-lr-finder 0.2 and ignite (the rest).
"""

import random

import numpy as np
import pytest
from torch import nn

from lrtuner.range_test import analyse, suggest, summary, sweep_rates
from tests.worker.conftest import fingerprint, loss_of, subject
from worker.sweep import CHECK_EVERY, sweep

DIGITS = {
    "model": {"name": "mlp", "args": {"hidden": [64]}},
    "dataset": {"name": "digits"},
    "training": {"batch_size": 64, "epochs": 10},
}
CONVNET = {
    "model": {"name": "convnet", "args": {"channels": [4], "dropout": 0.2}},
    "dataset": {"name": "digits"},
}
ADAMW = {"name": "adamw"}
OPTIMIZERS = [{"name": "sgd", "args": {"momentum": 0.9}}, ADAMW, {"name": "rmsprop"}]
RATES = sweep_rates(1e-6, 10.0, 100)


def swept(rates=RATES, *, updates=3, **changes):
    """A sweep of a model after so many updates."""
    task, model, optimizer = subject(updates, **DIGITS, **changes)
    return sweep(model, optimizer, task.batches(1, len(rates)), loss_of, rates, seed=1)


@pytest.mark.parametrize("updates", [0, 36])
def test_a_bias_correction_that_bends_the_first_smoothed_losses(updates):
    told = swept(updates=updates)
    true_start = np.mean(told.losses[:10])  # nothing is learned at these rates
    assert analyse(told).smoothed[:10] == pytest.approx([true_start] * 10, rel=0.05)


def test_a_finder_that_is_dead_later_in_the_training():
    first, later = swept(updates=0), swept(updates=36)
    assert later.updates == first.updates > 80
    assert later.losses[0] < 0.5 * first.losses[0]  # it had indeed trained
    one, other = analyse(first), analyse(later)
    assert one.status == other.status == "ok"
    assert other.lr_diverged == pytest.approx(one.lr_diverged, rel=0.5)


def test_rates_that_are_a_step_ahead_and_a_first_batch_at_the_rate_of_before():
    rates, told, used = sweep_rates(1e-6, 1e-2, 50), {}, []
    for before in (0.01, 1e3):
        task, model, optimizer = subject(**DIGITS)
        optimizer.param_groups[0]["lr"] = before
        optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
        batches = iter(list(task.batches(1, 60)))
        told[before] = sweep(model, optimizer, batches, loss_of, rates, seed=1)
        assert len(list(batches)) == 10
    assert used == rates * 2
    assert told[0.01].lrs == rates
    assert told[0.01].updates == 50
    assert told[0.01] == told[1e3]


def test_a_nan_that_does_not_stop_the_sweep_and_a_suggestion_at_its_edge():
    task, model, optimizer = subject(0, **DIGITS, optimizer=ADAMW)
    calls = 0

    def loss(net, batch):
        nonlocal calls
        calls += 1
        return loss_of(net, batch) * (float("nan") if calls > 60 else 1.0)

    told = sweep(model, optimizer, task.batches(1, 100), loss, RATES, seed=1)
    assert told.updates - 60 in range(1, CHECK_EVERY + 1)
    assert [x is None for x in told.losses] == [False] * 60 + [True] * 40
    found = analyse(told)
    assert (found.status, found.stopped_at) == ("nan_at_step", 60)
    assert found.lr_diverged < RATES[60]
    suggestion = suggest([found], task.spec.optimizer.default_lrs)
    assert suggestion.source == "range_test"
    assert all(peak.lr < RATES[60] / 3 for peak in suggestion.peaks.values())


@pytest.mark.parametrize(
    ("num_steps", "status"), [(8, "too_few_points"), (12, "too_few_points"), (20, "ok")]
)
def test_few_points_that_raise_or_give_any_number(num_steps, status):
    found = analyse(swept(sweep_rates(1e-6, 10.0, num_steps), updates=0, optimizer=ADAMW))
    assert found.status == status == summary([found])[0]
    assert (found.lr_diverged is None) == (status == "too_few_points")
    suggestion = suggest([found], (1e-3,))
    assert suggestion.source == ("range_test" if status == "ok" else "optimizer_default")


ENDS = {"raises": ValueError("broken batch"), "cancelled": KeyboardInterrupt()}


@pytest.mark.parametrize("optimizer_spec", OPTIMIZERS, ids=lambda o: o["name"])
@pytest.mark.parametrize("fault", [None, "raises", "cancelled", "nan"])
@pytest.mark.parametrize("model_spec", [{}, CONVNET], ids=["mlp", "convnet"])
def test_a_state_that_is_not_put_back(optimizer_spec, fault, model_spec):
    task, model, optimizer = subject(optimizer=optimizer_spec, **model_spec)
    model.eval()
    model[-1].train()  # a mixture of modes must come back as well
    before = fingerprint(model, optimizer)
    calls = 0

    def loss(net, batch):
        nonlocal calls
        calls += 1
        random.random(), np.random.rand()
        value = loss_of(net, batch)
        if fault in ENDS and calls == 13:
            raise ENDS[fault]
        return value * float("nan") if fault == "nan" and calls >= 13 else value

    if fault in ENDS:
        with pytest.raises(type(ENDS[fault])):
            sweep(model, optimizer, task.batches(1, 100), loss, RATES, seed=1)
    else:
        told = sweep(model, optimizer, task.batches(1, 100), loss, RATES, seed=1)
        assert told.updates > 10
    assert fingerprint(model, optimizer) == before
    assert model.training is False
    assert model[-1].training is True


def test_the_fingerprint_sees_a_change():
    _task, model, optimizer = subject(**CONVNET)
    before = fingerprint(model, optimizer)
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).running_mean += 1e-6
    assert fingerprint(model, optimizer) != before
