"""What follows from the sweeps: bounds for a search, and a peak rate for each kind of schedule."""

import math
from typing import Literal

from lrtuner.range_test.analysis import Analysis, Status
from lrtuner.range_test.sweeps import Sweep
from lrtuner.strict import Record

DIVISORS = {"constant": 10.0, "step": 5.0, "decaying": 3.0, "one_cycle": 3.0, "cyclic": 3.0}
"""The peak of each kind of schedule is the divergence point over this.

A rate that stays must be lower than one that is passed through. Those of constant and one_cycle
were measured, the others lie between them.
"""

BOUND_BELOW, BOUND_ABOVE = 100.0, 2.0
"""How far below and above the divergence point a search looks: warmup and decay bear a little more
than the sweep did."""

FALLBACK_DECADES = (2.0, 1.0)
"""How far below and above the usual rates of an optimizer a search looks without a signal."""


class Peak(Record):
    """The peak rate for one kind of schedule: the geometric mean over the seeds of the sweeps.

    `low` and `high` are the lowest and the highest of them; null where no sweep gave a signal.
    `base` is the lower bound of a cyclic schedule: where the descent begins.
    """

    lr: float
    low: float | None = None
    high: float | None = None
    base: float | None = None


class Suggestion(Record):
    """Where to search the peak rate, and where to begin for each kind of schedule."""

    low: float
    high: float
    peaks: dict[str, Peak]
    source: Literal["range_test", "optimizer_default", "job"]


class RangeTestResult(Record):
    """The range test of a job: every raw sweep, what it says, and what follows for the search."""

    status: Status
    message: str
    sweeps: list[Sweep]
    analyses: list[Analysis]
    suggestion: Suggestion
    cost: float


def suggest(
    analyses: list[Analysis],
    default_lrs: tuple[float, ...],
    lr_range: tuple[float, float] | None = None,
) -> Suggestion:
    """Bounds and starting peaks from the divergence points over seeds.

    Without a usable sweep the optimizer's usual rates stand in. A range that the job gives bounds
    everything.
    """
    points = [a.lr_diverged for a in analyses if a.lr_diverged is not None]
    starts = [a.lr_start for a in analyses if a.lr_start is not None]
    found = _measured(points, starts) if points else _usual(default_lrs)
    return found if lr_range is None else _bounded(found, *lr_range)


def summary(analyses: list[Analysis]) -> tuple[Status, str]:
    """The status of several sweeps together, and a sentence on it."""
    statuses: list[Status] = [analysis.status for analysis in analyses]
    usable = [a for a in analyses if a.lr_diverged is not None]
    if not statuses:
        return "too_few_points", "The budget is too small for a range test; usual rates stand in."
    if not usable:
        worst = max(statuses, key=statuses.count)
        return worst, f"No sweep gave a usable signal ({worst}); usual rates stand in."
    points = [a.lr_diverged for a in usable if a.lr_diverged is not None]
    status: Status = "ok" if any(a.status == "ok" for a in usable) else "did_not_diverge"
    where = f"between {min(points):.3g} and {max(points):.3g}"
    told = f"{len(usable)} of {len(analyses)} sweeps"
    if status == "ok":
        return status, f"{told} agree that training diverges {where}."
    return status, f"{told} gave a signal, and none diverged: the bound {where} is the sweep's end."


def _measured(points: list[float], starts: list[float]) -> Suggestion:
    diverged = _geometric_mean(points)
    peaks = {
        kind: Peak(lr=diverged / k, low=min(points) / k, high=max(points) / k)
        for kind, k in DIVISORS.items()
    }
    base = min(_geometric_mean(starts), peaks["cyclic"].lr) if starts else None
    return Suggestion(
        low=diverged / BOUND_BELOW,
        high=diverged * BOUND_ABOVE,
        peaks=peaks | {"cyclic": peaks["cyclic"].model_copy(update={"base": base})},
        source="range_test",
    )


def _usual(default_lrs: tuple[float, ...]) -> Suggestion:
    below, above = FALLBACK_DECADES
    flat, high = min(default_lrs), max(default_lrs)
    return Suggestion(
        low=flat * 10**-below,
        high=high * 10**above,
        peaks={kind: Peak(lr=flat if kind == "constant" else high) for kind in DIVISORS},
        source="optimizer_default",
    )


def _bounded(found: Suggestion, low: float, high: float) -> Suggestion:
    peaks = {}
    for kind, peak in found.peaks.items():
        rates = peak.model_dump(exclude_none=True).items()
        inside = {name: min(max(rate, low), high) for name, rate in rates}
        peaks[kind] = peak.model_copy(update=inside)
    return Suggestion(low=low, high=high, peaks=peaks, source="job")


def _geometric_mean(rates: list[float]) -> float:
    return math.exp(sum(map(math.log, rates)) / len(rates))
