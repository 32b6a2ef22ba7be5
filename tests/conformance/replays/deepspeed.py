"""Rates out of the DeepSpeed module: in an engine that accumulates two micro-batches."""

import pytest

from tests.conformance.replays._standins import DeepSpeedEngine
from tests.conformance.replays.torch import load_module, two_groups


def replay(text, schedule, steps):
    import torch

    make_scheduler = load_module(text)["make_scheduler"]
    engine = DeepSpeedEngine(two_groups(torch), make_scheduler, gradient_accumulation_steps=2)
    rates = []
    for _ in range(steps):
        for _ in range(2):
            rate, quarter = (group["lr"] for group in engine.optimizer.param_groups)
            engine.step()
        rates.append(rate)
        assert quarter == pytest.approx(0.25 * rate)
    return rates
