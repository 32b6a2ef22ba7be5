"""Rates out of the PyTorch module: run in torch, with two groups, after another scheduler."""

import pytest


def load_module(text):
    """The names that a module's source defines."""
    namespace = {"__name__": "exported"}
    exec(compile(text, "exported.py", "exec"), namespace)
    return namespace


def two_groups(torch):
    """An optimizer whose second group has a quarter of the rate, with a stale `initial_lr`."""
    optimizer = torch.optim.SGD(
        [
            {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-7},
            {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.25e-7},
        ]
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = 123.0  # left over by someone else
    return optimizer


def follow(optimizer, scheduler, steps):
    """The rates of so many updates; the groups keep their ratio."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.25 * rates[-1])
        optimizer.step()
        scheduler.step()
    return rates


def follow_metric(optimizer, scheduler, values):
    """The rates after each value of the metric; the groups keep their ratio."""
    rates = []
    for value in values:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.25 * rates[-1])
    return rates


def replay(text, schedule, steps):
    import torch

    optimizer = two_groups(torch)
    return follow(optimizer, load_module(text)["make_scheduler"](optimizer), steps)


def react(text, document, values):
    import torch

    optimizer = two_groups(torch)
    return follow_metric(optimizer, load_module(text)["make_scheduler"](optimizer), values)
