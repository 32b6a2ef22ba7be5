"""Exported modules of schedules in epochs and seconds: run in torch, on a clock of our own."""

import copy
import itertools
import types

import numpy as np
import pytest

from lrtuner.document import load
from lrtuner.export import EXPORTERS
from lrtuner.export._formula import source
from tests.conformance.replays.torch import load_module
from tests.conformance.samples import SAMPLES

torch = pytest.importorskip("torch")

formats = pytest.mark.parametrize("name", ["torch", "lightning"])

HALVING = load(
    {
        "unit": "second",
        "total_steps": "1h",
        "peak_lr": 0.8,
        "warmup": {"steps": "2min", "start_factor": 0.1},
        "body": {"family": "step", "every": "10min", "rate": 0.5},
    }
)


def two_groups():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.4, 0.1)]
    return torch.optim.SGD(groups)


class Run:
    """The exported module in a process of its own, whose clock starts anywhere."""

    def __init__(self, name, document, now):
        self.now = now
        self.exported = load_module(EXPORTERS[name].render(document))
        if "time" in self.exported:
            self.exported["time"] = types.SimpleNamespace(monotonic=lambda: self.now)
        self.optimizer = two_groups()
        self.scheduler = self.exported["make_scheduler"](self.optimizer)

    def rates(self):
        first, second = (group["lr"] for group in self.optimizer.param_groups)
        assert second == pytest.approx(0.25 * first, rel=1e-15)
        return first

    def follow(self, seconds):
        """The rate of one update after another, each of so many seconds."""
        rates = []
        for second in seconds:
            rates.append(self.rates())
            self.now += second
            self.optimizer.step()
            self.scheduler.step()
        return rates


@formats
def test_the_rate_follows_the_seconds_trained(name):
    run = Run(name, HALVING, now=5e6)
    seconds = [0.0, 0.125, 59.875, 60.0, 480.0, 119.875, 0.125, 0.25, 600.0, 3600.0, 1.0, 1.0]
    ends = [0.0, *itertools.accumulate(seconds)]
    assert run.follow(seconds) == pytest.approx(HALVING(ends[:-1]), rel=1e-12)
    assert run.rates() == HALVING(1e9)


@formats
def test_the_time_between_saving_and_loading_does_not_count(name):
    seconds = [0.5 * 1.1**i for i in range(90)]
    run = Run(name, HALVING, now=100.0)
    run.follow(seconds[:40])
    run.now += 3.0  # an evaluation, say
    saved = copy.deepcopy((run.optimizer.state_dict(), run.scheduler.state_dict()))
    expected = run.follow(seconds[40:])

    resumed = Run(name, HALVING, now=-7.0)
    resumed.now += 500.0  # reading the checkpoint
    resumed.optimizer.load_state_dict(saved[0])
    resumed.scheduler.load_state_dict(saved[1])
    assert resumed.scheduler.elapsed == pytest.approx(sum(seconds[:40]) + 3.0)
    assert resumed.follow(seconds[40:]) == pytest.approx(expected, rel=1e-12)


@formats
def test_a_schedule_in_epochs_is_stepped_once_per_epoch(name):
    document = load(
        {
            "unit": "epoch",
            "total_steps": 12,
            "peak_lr": 0.3,
            "warmup": {"steps": 3},
            "body": {"family": "multistep", "milestones": [2, 5], "factors": [0.1, 0.01]},
        }
    )
    run = Run(name, document, now=0.0)
    assert "time" not in run.exported
    assert run.follow([0.0] * 20) == pytest.approx(document(np.arange(20)), abs=1e-13)
    assert run.exported["learning_rate"](7) == document(7)


@pytest.mark.parametrize("schedule", SAMPLES.values(), ids=SAMPLES)
def test_the_formula_holds_between_whole_seconds_too(schedule):
    schedule = schedule.model_copy(update={"unit": "second"})
    namespace = load_module("import bisect, math\n" + source(schedule))
    end = schedule.total_steps
    times = [*np.linspace(0.0, 1.2 * end, 400).tolist(), end - 0.5, end - 0.01, end, end + 0.5]
    rates = [namespace["learning_rate"](t) for t in times]
    np.testing.assert_allclose(rates, schedule(times), rtol=0, atol=1e-12 * schedule.peak_lr)
