"""LR range tests: from raw sweeps to where training learns, where it blows up, and what follows.

A sweep raises the learning rate update by update (Smith 2017, arXiv 1506.01186). Losses are stored
raw and smoothed afterwards over log10(lr) with a symmetric kernel, so that nothing lags; a noise
estimate decides whether there is a signal at all. What is suggested depends on the schedule: the
best peak of a constant rate and of a one-cycle differ by up to 50 times on the same task.
"""

from lrtuner.range_test.analysis import MIN_POINTS, Analysis, Status, analyse
from lrtuner.range_test.suggestion import (
    DIVISORS,
    Peak,
    RangeTestResult,
    Suggestion,
    suggest,
    summary,
)
from lrtuner.range_test.sweeps import Sweep, sweep_rates
from lrtuner.range_test.votes import VOTES

__all__ = [
    "DIVISORS",
    "MIN_POINTS",
    "VOTES",
    "Analysis",
    "Peak",
    "RangeTestResult",
    "Status",
    "Suggestion",
    "Sweep",
    "analyse",
    "suggest",
    "summary",
    "sweep_rates",
]
