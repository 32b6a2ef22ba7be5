"""Rates out of the Composer module: stepped by its Trainer as the module's docstring says."""

import pytest

from tests.conformance.replays._standins import ComposerTrainer
from tests.conformance.replays.torch import load_module, two_groups


def replay(text, schedule, steps):
    import torch

    optimizer, pairs = two_groups(torch), []
    trainer = ComposerTrainer(
        optimizers=optimizer,
        schedulers=load_module(text)["make_scheduler"](optimizer),
        step_schedulers_every_batch=schedule.unit == "step",
    )
    if schedule.unit == "step":
        trainer.fit(epochs=1, batches=steps, seen=pairs.append)
    else:
        trainer.fit(epochs=steps, batches=1, seen=pairs.append)
    assert [second for _, second in pairs] == pytest.approx([0.25 * first for first, _ in pairs])
    return [first for first, _ in pairs]
