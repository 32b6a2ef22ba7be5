"""The contract of an optimizer: the arguments of torch, its own rate, a state that is kept."""

import inspect

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from lrtuner.optimizers import OPTIMIZERS
from tests.worker.conftest import loss_of, spec_of, task_of
from tests.worker.test_trunks import STEPS, assert_as_alone, wsd
from worker.optimizers import CLASSES
from worker.range_test import one_sweep
from worker.snapshot import Subject, restored
from worker.training import train

TEXT = {
    "model": {"name": "gpt", "args": {"width": 16, "num_layers": 1, "num_heads": 2}},
    "dataset": {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}},
    "training": {"batch_size": 16, "steps": 10},
}

# how it computes and which way, not what; and what a schedule is in the place of
NOT_ASKED = {"params", "lr", "foreach", "maximize", "capturable", "differentiable", "fused"}
LEFT_OUT = {
    "adam": {"decoupled_weight_decay"},  # which is adamw
    "adagrad": {"lr_decay"},
}
OF_TORCH = {name: kind for name, kind in OPTIMIZERS.items() if name not in ("lion", "muon")}


def small(name, **changes):
    model = {"name": "mlp", "args": {"hidden": [16], "dropout": 0.2}}
    return task_of(**{"model": model, "optimizer": {"name": name}, **changes})


def test_every_config_has_an_optimizer():
    assert set(CLASSES) == set(OPTIMIZERS.values())
    assert all(config().name == name for name, config in OPTIMIZERS.items())


@pytest.mark.parametrize("name", OF_TORCH)
def test_its_arguments_and_their_defaults_are_those_of_torch(name):
    config = OPTIMIZERS[name]()
    parameters = inspect.signature(CLASSES[type(config)]).parameters
    ours = {field: getattr(config.args, field) for field in type(config.args).model_fields}
    theirs = {
        field: list(p.default) if isinstance(p.default, tuple) else p.default
        for field, p in parameters.items()
        if field not in NOT_ASKED | LEFT_OUT.get(name, set())
    }
    assert ours == theirs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_at_its_usual_rates(name):
    config = OPTIMIZERS[name]
    task = small(name, training={"batch_size": 16, "steps": STEPS})
    before = task.evaluate(task.model(0), task.data.validation)["loss"]
    run = train(task, [max(config.default_lrs)] * STEPS, seed=0, norms=True)
    assert run.metrics["val_loss"] < before
    assert run.updates == len(run.gradient_norms) == STEPS
    assert all(rate > 0 for rate in config.default_lrs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_a_transformer(name):
    run = train(task_of(**TEXT, optimizer={"name": name}), [1e-3] * 10, seed=0)
    assert run.metrics["val_loss"] is not None


def steps_from_here(task, model, optimizer, batch, rates):
    """How far the weights go in one step at each of the rates, all from the same state."""
    gone = []
    for rate in rates:
        with restored(Subject(model, optimizer)):
            before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss_of(model, batch).backward()
            optimizer.step()
            after = nn.utils.parameters_to_vector(model.parameters()).detach()
            gone.append(after - before)
            optimizer.zero_grad(set_to_none=True)
    return gone


def trained(task, optimizer_of):
    model = task.model(0).eval()
    optimizer = optimizer_of(model)
    *first, last = task.batches(0, 4)
    for batch in first:
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model, optimizer, last


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_uses_its_own_rate_and_no_other(name):
    task = small(name)
    model, optimizer, batch = trained(task, lambda model: task.optimizer(model, 1e-3))
    nothing, once, twice = steps_from_here(task, model, optimizer, batch, [0.0, 1e-3, 2e-3])
    assert nothing.abs().max() == 0
    assert once.abs().max() > 0
    torch.testing.assert_close(twice, 2 * once, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize(
    "make", [torch.optim.ASGD, torch.optim.Rprop], ids=lambda kind: kind.__name__
)
def test_those_left_out_do_not(make):
    task = small("sgd")
    model, optimizer, batch = trained(task, lambda model: make(model.parameters(), lr=1e-3))
    nothing, once = steps_from_here(task, model, optimizer, batch, [0.0, 1e-3])
    assert torch.equal(nothing, once)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_runs_that_share_a_beginning_are_the_runs_alone(name):
    task = small(name, training={"batch_size": 16, "steps": 30})
    assert_as_alone(task, [wsd(10, 30, 0.01), [0.01] * 30, wsd(5, 30, 0.01)])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sweep_uses_every_rate_and_can_be_repeated(name):
    rates = [1e-5 * 1.3**t for t in range(15)]
    first, again = (one_sweep(small(name), rates, 1) for _ in range(2))
    assert first == again
    assert (first.updates, first.lrs) == (15, rates)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_with_groups_and_a_scaler(name):
    groups = [{"match": "1.*", "lr_ratio": 0.5, "weight_decay": 0.1}]
    training = {"batch_size": 16, "steps": 10, "precision": "fp16", "param_groups": groups}
    run = train(small(name, training=training), [1e-3] * 10, seed=0)
    assert run.rates == [1e-3] * 10
    assert run.metrics["val_loss"] is not None


def test_muon_trains_matrices_and_adamw_the_rest():
    task = task_of(**TEXT, optimizer={"name": "muon"})
    model = task.model(0)
    optimizer = task.optimizer(model, 1e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parts = {
        group["matrix"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups
    }
    assert {"blocks.0.mlp.0.weight", "readout.weight"} <= parts[True]
    assert {"characters.weight", "norm.weight", "norm.bias"} <= parts[False]
    assert sum(map(len, parts.values())) == len(names)


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        ({"name": "lbfgs"}, "'sgd', 'adam'"),
        ({"name": "asgd"}, "'sgd', 'adam'"),
        ({"name": "adagrad", "args": {"lr_decay": 0.1}}, "not permitted"),
        ({"name": "adafactor", "args": {"eps": [None, None]}}, "second eps"),
        ({"name": "lion", "args": {"betas": [0.9, 1.0]}}, "less than 1"),
        ({"name": "muon", "args": {"ns_steps": 0}}, "greater than or equal to 1"),
        (
            {"name": "sgd", "args": {"momentum": 0.9, "nesterov": True, "dampening": 0.1}},
            "dampening of 0",
        ),
    ],
)
def test_what_it_does_not_take_is_refused(optimizer, told):
    with pytest.raises(ValidationError, match=told):
        spec_of(optimizer=optimizer)


def test_a_comparison_that_nothing_stands_for_is_refused():
    with pytest.raises(ValidationError, match="stands for 'lion', only for sgd, adam") as caught:
        spec_of(optimizer={"name": "lion"}, search={"compare": ["prodigy"]})
    assert caught.value.errors()[0]["ctx"]["field"] == "search.compare"


def test_an_argument_that_is_off_is_not_in_the_config():
    args = spec_of(optimizer={"name": "adamw"}).optimizer.args
    assert set(args.model_dump()) == {"betas", "eps", "weight_decay"}
    on = spec_of(optimizer={"name": "adamw", "args": {"amsgrad": True}}).optimizer.args
    assert on.model_dump()["amsgrad"] is True
