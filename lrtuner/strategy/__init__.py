"""How a search spends its budget, whatever it is that is trained."""

from lrtuner.strategy.arms import Ask, Origin, Purpose, Result, Shape
from lrtuner.strategy.peaks import Drift, drift
from lrtuner.strategy.problem import Candidate, Outcome, Problem
from lrtuner.strategy.record import Asking
from lrtuner.strategy.tuning import tune

__all__ = [
    "Ask",
    "Asking",
    "Candidate",
    "Drift",
    "Origin",
    "Outcome",
    "Problem",
    "Purpose",
    "Result",
    "Shape",
    "drift",
    "tune",
]
