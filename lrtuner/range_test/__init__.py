"""LR range tests: from raw sweeps to where training learns, where it blows up, and what follows.

A sweep raises the learning rate update by update (Smith 2017, arXiv 1506.01186). Losses are stored
raw and smoothed afterwards over log10(lr) with a symmetric kernel, so that nothing lags; a noise
estimate decides whether there is a signal at all. Probes, which are compressed whole trainings at a
few rates, verify the answer on held-out loss. What is suggested depends on the schedule: a rate
that stays must be lower than one that is passed through.
"""

from lrtuner.range_test.analysis import MIN_POINTS, Analysis, Status, analyse
from lrtuner.range_test.probing import (
    Kind,
    Plateau,
    Probe,
    by_rate,
    centre,
    log_loss,
    next_rate,
    plateau,
    plateaus,
)
from lrtuner.range_test.suggestion import (
    Peak,
    RangeTestResult,
    Suggestion,
    suggest,
    summary,
)
from lrtuner.range_test.sweeps import Sweep, sweep_rates
from lrtuner.range_test.votes import VOTES

__all__ = [
    "MIN_POINTS",
    "VOTES",
    "Analysis",
    "Kind",
    "Peak",
    "Plateau",
    "Probe",
    "RangeTestResult",
    "Status",
    "Suggestion",
    "Sweep",
    "analyse",
    "by_rate",
    "centre",
    "log_loss",
    "next_rate",
    "plateau",
    "plateaus",
    "suggest",
    "summary",
    "sweep_rates",
]
