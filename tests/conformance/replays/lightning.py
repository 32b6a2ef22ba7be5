"""Rates out of the Lightning module: its dict is one that Lightning takes, driven as it says.

Whole runs of Lightning's Trainer are in tests/frameworks.
"""

from tests.conformance.replays.torch import follow, follow_metric, load_module, two_groups


def config(text):
    """The optimizer and what goes under "lr_scheduler", as Lightning reads it."""
    import torch
    from lightning.pytorch.utilities.types import LRSchedulerConfig

    optimizer = two_groups(torch)
    return optimizer, LRSchedulerConfig(**load_module(text)["lr_scheduler_config"](optimizer))


def replay(text, schedule, steps):
    optimizer, told = config(text)
    assert (told.interval, told.frequency) == (schedule.unit, 1)
    return follow(optimizer, told.scheduler, steps)


def react(text, document, values):
    optimizer, told = config(text)
    assert (told.interval, told.frequency) == (document.unit, 1)
    assert (told.monitor, told.strict) == (document.body.monitor, True)
    return follow_metric(optimizer, told.scheduler, values)
