"""Rates out of the fastai module: what its callback sets before each batch of a fit."""

import pytest

from tests.conformance.replays._standins import (
    FastaiBatches,
    FastaiLearner,
    FastaiParamScheduler,
    FastaiTrackerCallback,
    installed,
)
from tests.conformance.replays.torch import load_module


def replay(text, schedule, steps):
    """A schedule in epochs is fitted with 3 batches in each, and read at the first."""
    with installed("fastai.callback.schedule", ParamScheduler=FastaiParamScheduler):
        callback = load_module(text)["callback"]()
    total, per_unit, pairs = schedule.total_steps, 1 if schedule.unit == "step" else 3, []
    epochs = next(n for n in (7, 4, 2, 1) if total % n == 0) if per_unit == 1 else total
    batches = FastaiBatches(total * per_unit // epochs, more=(steps - total) * per_unit)
    FastaiLearner(batches, seen=pairs.append).fit(epochs, lr=[1e-7, 0.25e-7], cbs=callback)
    assert [second for _, second in pairs] == pytest.approx([0.25 * first for first, _ in pairs])
    return [first for first, _ in pairs][::per_unit]


def react(text, document, values):
    """The rates that the batch after each value of the metric would get."""
    with installed("fastai.callback.tracker", TrackerCallback=FastaiTrackerCallback):
        callback = load_module(text)["callback"]()
    pairs = []
    learner = FastaiLearner(FastaiBatches(1), losses=[*values, 0.0], seen=pairs.append)
    learner.fit(len(values) + 1, lr=[1e-7, 0.25e-7], cbs=callback)
    assert [second for _, second in pairs] == pytest.approx([0.25 * first for first, _ in pairs])
    return [first for first, _ in pairs][1:]
