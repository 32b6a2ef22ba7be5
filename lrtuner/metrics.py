"""Metrics by name: what they fit, which way is better, and how runs are ranked by them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lrtuner.sources import Targets

LEAST_ERROR = 1e-3
"""A smaller share of errors counts as this: no error among some hundred examples is not infinitely
better than one."""

LEAST_LOSS = 1e-9
"""A smaller loss counts as this: in single precision that of a sure and right answer is 0."""


@dataclass(frozen=True)
class Metric:
    """A number for how well a model does on a split.

    `fits` are the kinds of targets that it is defined for. A `maximized` one is at most 1. `loss`
    makes of it a positive number, less is better, whose ratios a search can rank by.
    """

    fits: frozenset[Targets]
    maximized: bool
    loss: Callable[[float], float]

    def gap(self, found: float, value: float) -> float:
        """How far `found` is off `value`, relative to it; 0 or less where it is as good.

        found / value - 1, and the same of what is missing to 1 for a maximized metric.
        """
        if self.maximized:
            return (value - found) / max(1.0 - value, LEAST_ERROR)
        return (found - value) / value


def _itself(value: float) -> float:
    return max(value, LEAST_LOSS)


def _errors(value: float) -> float:
    return max(1.0 - value, LEAST_ERROR)


def _unexplained(value: float) -> float:
    return max(1.0 - value, LEAST_LOSS)


def _per_token(value: float) -> float:
    return max(math.log(value), LEAST_LOSS)


_ALL: frozenset[Targets] = frozenset({"classes", "tokens", "labels", "values", "inputs"})
_SORTS: frozenset[Targets] = frozenset({"classes", "labels"})
_NUMBERS: frozenset[Targets] = frozenset({"values", "inputs"})

# accuracy, f1, auc: the share of errors, of what F1 lacks, of pairs in the wrong order
# r2: the share of the variance that is not explained, which is mse over the variance
# perplexity: its logarithm, the cross-entropy per token, so that it ranks as the loss does
METRICS: dict[str, Metric] = {
    "loss": Metric(_ALL, maximized=False, loss=_itself),
    "accuracy": Metric(frozenset({"classes"}), maximized=True, loss=_errors),
    "f1": Metric(_SORTS, maximized=True, loss=_errors),
    "auc": Metric(_SORTS, maximized=True, loss=_errors),
    "mse": Metric(_NUMBERS, maximized=False, loss=_itself),
    "mae": Metric(_NUMBERS, maximized=False, loss=_itself),
    "r2": Metric(_NUMBERS, maximized=True, loss=_unexplained),
    "perplexity": Metric(frozenset({"tokens"}), maximized=False, loss=_per_token),
}
