"""How a search spends its budget, whatever it is that is trained."""

from lrtuner.strategy.arms import Ask, Origin, Purpose, Result, Shape
from lrtuner.strategy.peaks import Drift, drift
from lrtuner.strategy.tuning import Asking, Candidate, Outcome, Problem, tune

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
