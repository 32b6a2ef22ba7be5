"""Where labels go, so that none lies on another, on a curve or outside of the picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtuner.plots._svg import SIZE, width_of

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_APART = 8.0
_DENSE = 4.0
_ON_ANOTHER, _OUTSIDE = 1e3, 1e6  # what a place costs, in points of the curve that it would hide


@dataclass(frozen=True)
class Name:
    """A label above a plot: of the place `x`, its text from `start` on, in `row` 0, 1, ... up."""

    x: float
    text: str
    start: float
    row: int


def in_rows(names: Iterable[tuple[float, str]], left: float, right: float) -> list[Name]:
    """The labels (place, text) over their places, between `left` and `right`, in few rows."""
    placed: list[Name] = []
    ends: list[float] = []
    for x, text in sorted(names):
        width = width_of(text)
        start = max(min(x - width / 2, right - width), left)
        row = next((i for i, end in enumerate(ends) if end + _APART <= start), len(ends))
        ends[row : row + 1] = [start + width]
        placed.append(Name(x, text, start, row))
    return placed


def beside(
    x: float, y: float, text: str, *, frame: Box, taken: Sequence[Box], curve: NDArray[np.float64]
) -> Box:
    """A place for the text beside the point: in the frame, off the `taken`, hiding little curve."""
    width, height = width_of(text), SIZE * 1.2
    over = max(min(x - width / 2, frame[2] - width), frame[0])
    lefts = (x + _APART, x - _APART - width, over)
    near, far = (y - _APART - height, y + _APART), (y - 2.5 * height, y + 1.5 * height)
    tops = [(top, left) for top in (*near, *far) for left in lefts]
    beside = [(y - height / 2, left) for left in lefts[:2]]
    places = [(left, top, left + width, top + height) for top, left in tops + beside]
    return min(places, key=lambda place: _cost(place, frame, taken, curve))


def dense(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along the line, close to each other: shape (count, 2)."""
    ends = np.column_stack([xs, ys])
    ends = ends[np.isfinite(ends).all(axis=1)]
    if len(ends) < 2:
        return ends
    steps = np.hypot(*np.diff(ends, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(0.0, along[-1], _DENSE)
    return np.column_stack([np.interp(at, along, side) for side in ends.T])


def _cost(place: Box, frame: Box, taken: Sequence[Box], curve: NDArray[np.float64]) -> float:
    left, top, right, bottom = place
    outside = left < frame[0] or top < frame[1] or right > frame[2] or bottom > frame[3]
    on_others = sum(_overlap(place, other) for other in taken)
    xs, ys = curve.T
    hidden = np.count_nonzero((xs > left) & (xs < right) & (ys > top) & (ys < bottom))
    return outside * _OUTSIDE + on_others * _ON_ANOTHER + float(hidden)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
