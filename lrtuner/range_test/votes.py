"""The classical rules for reading a rate off a sweep, as votes beside our own answer.

Each takes log10 of the rates and the smoothed losses up to the divergence, and gives an index or
None. They are other people's rules on our smoothed curve: without its lag and its noise.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rule = Callable[[Array, Array], float | None]

SLIDE_SPAN = 0.15
"""How much of the sweep the two points of `slide` are apart."""

SLIDE_THRESHOLD = 0.005
"""Of the whole descent: slopes that differ by less are the same."""


def steepest(x: Array, smoothed: Array) -> float | None:
    """Where the loss falls fastest per decade, left of its minimum (torch-lr-finder, ignite)."""
    lowest = int(np.argmin(smoothed))
    if lowest < 1:
        return None
    return float(x[int(np.argmin(np.gradient(smoothed, x)[: lowest + 1]))])


def minimum_over_10(x: Array, smoothed: Array) -> float | None:
    """A tenth of the rate of the lowest loss (fastai's `minimum`)."""
    return float(x[int(np.argmin(smoothed))]) - 1.0


def valley(x: Array, smoothed: Array) -> float | None:
    """Two thirds along the longest decreasing stretch of the curve (fastai's default, `valley`)."""
    falls = np.diff(smoothed) < 0
    best_start, best_length, start = 0, 0, 0
    for i, falling in enumerate(falls):
        if not falling:
            start = i + 1
        elif i + 1 - start > best_length:
            best_start, best_length = start, i + 1 - start
    if best_length < 3:
        return None
    third = best_length / 3.0
    return float(x[best_start + int(third) + int(third / 2.0)])


def slide(x: Array, smoothed: Array) -> float | None:
    """Where a span slid from the right first has like slopes at both ends (fastai's `slide`)."""
    span = max(2, round(SLIDE_SPAN * len(x)))
    slopes, scale = np.gradient(smoothed), float(np.ptp(smoothed))
    found = None
    for left in range(len(x) - 1 - span, -1, -1):
        if abs(slopes[left + span] - slopes[left]) <= SLIDE_THRESHOLD * scale:
            break
        found = float(x[left])
    return found


# A new rule is one function and its line here.
VOTES: dict[str, Rule] = {
    "steepest": steepest,
    "minimum_over_10": minimum_over_10,
    "valley": valley,
    "slide": slide,
}


def votes(x: Array, smoothed: Array) -> dict[str, float | None]:
    """The rate each rule reads off the curve; null where it finds none."""
    return {name: _rate(rule(x, smoothed)) for name, rule in VOTES.items()}


def _rate(log10: float | None) -> float | None:
    return None if log10 is None else float(10.0**log10)
