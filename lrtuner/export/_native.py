"""Schedules out of a framework's own parts: proposed by family, kept where the rates agree."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.schedules.grammar import Schedule

Single = NDArray[np.floating[Any]]

AGREES_WITHIN = 1e-6
"""Share of the peak; it leaves room to 2e-6 for the last bits of another library's cosine."""

MAX_LEVELS = 32
"""More constant pieces than these no one would write out."""


@dataclass(frozen=True)
class Native:
    """An expression in the framework's terms, and what it computes.

    `rates` is its formula over steps, in the framework's order and single precision: rounding can
    put a step on the wrong side of a boundary, which only trying tells. From step `ends` on the
    rates stay as they are.
    """

    source: str
    rates: Callable[[Single], Single]
    ends: float = np.inf


def first_that_agrees(proposals: Iterable[Native], schedule: Schedule) -> Native | None:
    """The first proposal with the schedule's rates at t = 0, ..., T - 1."""
    steps = np.arange(schedule.total_steps, dtype=np.float32)
    rates = schedule.values()
    return next((own for own in proposals if _agree(own, steps, rates, schedule.peak_lr)), None)


def definition(own: Native, schedule: Schedule, *, returns: str, doc: str) -> str:
    """The source of `native_schedule()`; below `doc` it says how far it agrees."""
    return f'''def native_schedule() -> {returns}:
    """{doc}

    Within 2e-6 of PEAK_LR it agrees with `learning_rate` {_reach(own, schedule)}.
    """
    return {own.source}
'''


def levels(schedule: Schedule, since: int = 0) -> tuple[list[int], list[float]] | None:
    """Few constant pieces from step `since` on, if that is what the schedule is.

    Where each but the first begins, counted from `since`, and the rates of all.
    """
    rates = schedule(np.arange(since, schedule.total_steps + 1))
    starts = np.flatnonzero(np.diff(rates)) + 1
    if not 0 < len(starts) <= MAX_LEVELS:
        return None
    return starts.tolist(), [float(rates[0]), *rates[starts].tolist()]


def over(t: Single, length: float) -> Single:
    """t / length as XLA computes it: by 1 / length, which is rounded. Others are closer."""
    return t * (1.0 / np.float32(length))


def floored(t: Single, length: float) -> Single:
    """The whole periods in t, or NaN where that depends on how they are computed."""
    periods = np.floor(t / length)
    return np.where(np.floor(over(t, length)) == periods, periods, np.nan)


def _agree(own: Native, steps: Single, rates: Single, peak_lr: float) -> bool:
    with np.errstate(all="ignore"):  # a proposal may be nonsense for what it was not made for
        return bool(np.max(np.abs(own.rates(steps) - rates)) <= AGREES_WITHIN * peak_lr)


def _reach(own: Native, schedule: Schedule) -> str:
    end = schedule.total_steps
    held = _agree(
        own, np.array([end], dtype=np.float32), schedule(np.array([end])), schedule.peak_lr
    )
    if held and own.ends <= end:
        return "at every step"
    return "up to the horizon, but does not hold its last rate"
