"""A worst-case bound on the loss that a schedule's shape ends with, before anything is trained.

It holds for subgradient descent on a convex function (Defazio et al. 2023, arXiv 2310.07831;
Schaipp et al. 2025, arXiv 2501.18965). Of real networks it does not tell the loss, but it orders
schedules much as their losses do: by `at` where the peaks are given, by `best_value` where each
shape has its own best peak. `transferred_lr` carries a tuned peak from one shape to another.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrtuner.errors import InvalidInputError

Array = NDArray[np.float64]

DUST = 1e-9
"""A factor up to this counts as 0: it is what rounding leaves where a decay ends in zero."""

_LEAST, _MOST = 1e-50, 1e50  # beyond, squares of ratios leave the range of floats


@dataclass(frozen=True)
class Bound:
    """The bound as a function of the step size gamma, the peak learning rate in the bound's unit.

    bound(gamma) = distance / gamma + gamma gradients, in units of the loss.

    It takes the smallest value, 2 sqrt(distance gradients), at gamma* = sqrt(distance / gradients).
    The peak of a real training is gamma / scale; one sweep of peaks over one shape tells the scale,
    gamma* of that shape over the best peak.
    """

    distance: float
    gradients: float

    def at(self, gamma: float) -> float:
        """The bound at a step size.

        Raises:
            InvalidInputError: `gamma` is not more than 0.
        """
        if not gamma > 0.0:
            raise InvalidInputError(f"gamma must be more than 0, got {gamma!r}")
        return self.distance / gamma + gamma * self.gradients

    @property
    def best_gamma(self) -> float:
        """gamma*, the step size at which the bound is lowest."""
        return math.sqrt(self.distance / self.gradients)

    @property
    def best_value(self) -> float:
        """The bound at gamma*."""
        return 2.0 * math.sqrt(self.distance * self.gradients)


def bound(factors: ArrayLike, gradient_norms: ArrayLike = 1.0, distance: float = 1.0) -> Bound:
    """The bound on the loss after the steps e_1..e_T, each a factor of the peak.

    With S = sum e_t, D the distance from the start to the optimum, and G_t the gradient norms:

        distance  = D^2 / (2 S)
        gradients = sum e_t^2 G_t^2 / (2 S)
                  + 1/2 sum_{k<T} e_k / (sum_{j>k} e_j) (sum_{j>=k} e_j^2 G_j^2) / (sum_{j>=k} e_j)

    A step of factor 0 moves nothing, so the bound is that of the other steps, wherever it stands:
    inside, its terms are 0; at the end, the last step is the last that moves. (A tiny factor in
    its place would make the bound explode, so factors up to 1e-9 are taken as 0.)

    Bounds are comparable between shapes of one length T: over horizons gamma* falls as T^-0.5,
    faster than the best peak of real trainings does.

    Args:
        factors: e_1..e_T, in [0, 1], at least one above 1e-9.
        gradient_norms: G_t, one per step, or one number for all; measured norms are best smoothed.
        distance: D. It scales gamma* and the bound, and orders nothing.

    Raises:
        InvalidInputError: a factor is out of range, or none moves; the norms are not one per step;
            a norm or the distance is not in [1e-50, 1e50].
    """
    e = _factors(factors)
    norms = checked_norms(gradient_norms)
    if norms.shape not in ((), e.shape):
        raise InvalidInputError(f"gradient_norms: {norms.shape} for {len(e)} factors")
    if not _LEAST <= distance <= _MOST:
        raise InvalidInputError(f"distance must be {_LEAST} to {_MOST}, got {distance!r}")
    moves = e > DUST
    squares = ((e * norms) ** 2)[moves]
    e = e[moves]
    left, squares_left = _sums_from(e), _sums_from(squares)
    last = 0.5 * np.sum(e[:-1] / left[1:] * (squares_left[:-1] / left[:-1]))
    total = float(left[0])
    return Bound(
        distance=distance**2 / (2.0 * total),
        gradients=float(squares_left[0]) / (2.0 * total) + float(last),
    )


def transferred_lr(lr: float, tuned: Bound, other: Bound) -> float:
    """The peak for the `other` shape, given the best peak `lr` of the `tuned` one, of equal length.

    lr gamma*(other) / gamma*(tuned): the scale between gamma and real peaks cancels.
    """
    return lr * other.best_gamma / tuned.best_gamma


def checked_norms(gradient_norms: ArrayLike) -> Array:
    """The norms as float64.

    Raises:
        InvalidInputError: one of them is not in [1e-50, 1e50].
    """
    norms = np.asarray(gradient_norms, dtype=np.float64)
    wrong = norms[~((norms >= _LEAST) & (norms <= _MOST))]
    if wrong.size:
        raise InvalidInputError(f"gradient norms must be {_LEAST} to {_MOST}, got {wrong[0]}")
    return norms


def _factors(factors: ArrayLike) -> Array:
    e = np.asarray(factors, dtype=np.float64)
    if e.ndim != 1:
        raise InvalidInputError(f"factors must be one per step, got the shape {e.shape}")
    wrong = e[~((e >= 0.0) & (e <= 1.0))]
    if wrong.size:
        raise InvalidInputError(f"factors must be 0 to 1, got {wrong[0]}")
    if not np.any(e > DUST):
        raise InvalidInputError(f"no factor is above {DUST}: nothing moves")
    return e


def _sums_from(values: Array) -> Array:
    """At each k, the sum of values[k:]."""
    return np.cumsum(values[::-1])[::-1]
