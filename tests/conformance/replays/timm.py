"""Rates out of the timm module: told the number of updates, or of epochs, as timm's loop does."""

import pytest

from tests.conformance.replays._standins import TimmScheduler, installed
from tests.conformance.replays.torch import load_module, two_groups


def replay(text, schedule, steps):
    import torch

    with installed("timm.scheduler.scheduler", Scheduler=TimmScheduler):
        optimizer = two_groups(torch)
        optimizer.param_groups[1]["lr_scale"] = 0.5  # layer decay, on top of the groups' own rates
        scheduler = load_module(text)["make_scheduler"](optimizer)
    rates = []
    for t in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.5 * 0.25 * rates[-1])
        optimizer.step()
        if schedule.unit == "epoch":
            scheduler.step_update(num_updates=7 * t)
            scheduler.step(t)
        else:
            scheduler.step_update(num_updates=t)
            scheduler.step(7 * t)
    return rates
