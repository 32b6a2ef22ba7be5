"""Metrics of a whole split by name, as scikit-learn has them.

It is imported where it is needed: that takes longer than all of a small run.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.losses import paired

Rows = NDArray[np.float64]


def measure(names: Sequence[str], outputs: Tensor, expected: Tensor) -> dict[str, float]:
    """Each metric of a model's outputs for a split and what they should be; NaN is none.

    `expected` is one whole number, a class, for each example, or a row of labels or of values.
    """
    if not expected.is_floating_point():
        one_hot = torch.nn.functional.one_hot(expected, outputs.shape[-1])
        scores, wanted = outputs.double().softmax(dim=-1), one_hot
        decided = torch.nn.functional.one_hot(outputs.argmax(dim=-1), outputs.shape[-1])
    else:
        scores, wanted = paired(outputs.double(), expected)
        decided = scores > 0  # a label's logit
    found = (scores.cpu().numpy(), decided.cpu().numpy(), wanted.cpu().numpy())
    return {name: float(_METRICS[name](*found)) for name in names}


def _f1(_scores: Rows, decided: Rows, wanted: Rows) -> float:
    """The mean over the classes or labels; those neither there nor named are none."""
    from sklearn import metrics  # noqa: PLC0415

    return float(metrics.f1_score(wanted, decided, average="macro", zero_division=math.nan))


def _auc(scores: Rows, _decided: Rows, wanted: Rows) -> float:
    """The mean over the classes, each against the rest, or labels; those without both are none."""
    from sklearn import metrics  # noqa: PLC0415

    both = [i for i, column in enumerate(wanted.T) if 0 < column.sum() < len(column)]
    if not both or not np.isfinite(scores).all():
        return math.nan
    return float(np.mean([metrics.roc_auc_score(wanted[:, i], scores[:, i]) for i in both]))


def _r2(scores: Rows, _decided: Rows, wanted: Rows) -> float:
    """1 - the share of the variance, of all outputs together, that is not explained."""
    from sklearn import metrics  # noqa: PLC0415

    if len(wanted) < 2 or not np.isfinite(scores).all():
        return math.nan
    return float(metrics.r2_score(wanted, scores, multioutput="variance_weighted"))


def _mse(scores: Rows, _decided: Rows, wanted: Rows) -> float:
    return float(np.mean((scores - wanted) ** 2))


def _mae(scores: Rows, _decided: Rows, wanted: Rows) -> float:
    return float(np.mean(np.abs(scores - wanted)))


_METRICS: dict[str, Callable[[Rows, Rows, Rows], float]] = {
    "f1": _f1,
    "auc": _auc,
    "mse": _mse,
    "mae": _mae,
    "r2": _r2,
}
