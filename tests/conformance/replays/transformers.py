"""Rates out of the transformers module: driven as Trainer does, its settings accepted by it.

Whole runs of Trainer, and of what it makes of the native settings, are in tests/frameworks.
"""

from dataclasses import fields

from tests.conformance.replays.torch import follow, follow_metric, load_module, two_groups


def made(text):
    import torch
    from transformers import TrainingArguments

    exported = load_module(text)
    optimizer = two_groups(torch)
    known = {field.name for field in fields(TrainingArguments)}
    assert set(exported["TRAINING_ARGUMENTS"]) <= known
    return exported["TRAINING_ARGUMENTS"], optimizer, exported["make_scheduler"](optimizer)


def replay(text, schedule, steps):
    arguments, optimizer, scheduler = made(text)
    assert arguments["max_steps"] == schedule.total_steps
    return follow(optimizer, scheduler, steps)


def react(text, document, values):
    arguments, optimizer, scheduler = made(text)
    assert arguments["greater_is_better"] == (document.body.mode == "max")
    return follow_metric(optimizer, scheduler, values)
