"""What follows from the sweeps: bounds for a search, and a peak rate for each kind of schedule."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from lrtuner.range_test.analysis import Analysis, Status
from lrtuner.range_test.probing import Kind, Plateau, Probe
from lrtuner.range_test.sweeps import Sweep
from lrtuner.strict import Record

SHARES: dict[Kind, float] = {
    "constant": 0.56,
    "step": 0.75,
    "decaying": 1.0,
    "one_cycle": 1.0,
    "cyclic": 1.0,
}
"""The best peak of each kind of schedule over that of linear or cosine decay to zero.

A rate that stays must be lower than one that is passed through. Over the tasks of
`benchmarks.finder` these shares vary less than the distance of any best peak from the divergence
point of a sweep: one kind that was probed says more of another than the sweeps do. The share of a
constant rate is the least sure (far lower where there is dropout): it is best probed by itself.
"""

DIVISOR = 4.5
"""Without probes, the peak of a decaying schedule is the divergence point over this."""

BOUND_BELOW, BOUND_ABOVE = 100.0, 2.0
"""How far below and above the divergence point a search looks: warmup and decay bear a little more
than the sweep did."""

PROBED_DECADES = 1.0
"""How far below and above a probed peak a search looks."""

FALLBACK_DECADES = (2.0, 1.0)
"""How far below and above the usual rates of an optimizer a search looks without a signal."""


class Peak(Record):
    """The peak rate for one kind of schedule, and an interval around it.

    From probes: the centre of their plateau, and where the held-out loss is within 1.25 times the
    lowest; `probed` says whether they were of this very kind, or carried over from another one.
    Else the geometric mean over the seeds of the sweeps, and the lowest and the highest of them;
    null where no sweep gave a signal. `base` is the lower bound of a cyclic schedule: where the
    descent begins.
    """

    lr: float
    low: float | None = None
    high: float | None = None
    base: float | None = None
    probed: bool = False


class Suggestion(Record):
    """Where to search the peak rate, and where to begin for each kind of schedule."""

    low: float
    high: float
    peaks: dict[Kind, Peak]
    source: Literal["probes", "range_test", "optimizer_default", "job"]


class RangeTestResult(Record):
    """The range test of a job: every raw sweep, what it says, and what follows for the search.

    `cost` is that of sweeps and probes together, in full-training equivalents. `repeatable` says
    whether two trainings from one seed gave the same losses.
    """

    status: Status
    message: str
    sweeps: list[Sweep]
    analyses: list[Analysis]
    probes: list[Probe] = []
    suggestion: Suggestion
    cost: float
    repeatable: bool = True


def suggest(
    analyses: list[Analysis],
    default_lrs: tuple[float, ...],
    lr_range: tuple[float, float] | None = None,
    probed: Mapping[Kind, Plateau] = MappingProxyType({}),
) -> Suggestion:
    """Bounds, and a peak for each kind of schedule.

    From the plateaus of the probes if there are any, else from the divergence points over seeds;
    without a usable sweep the optimizer's usual rates stand in. A range that the job gives bounds
    everything.
    """
    points = [a.lr_diverged for a in analyses if a.lr_diverged is not None]
    starts = [a.lr_start for a in analyses if a.lr_start is not None]
    if probed:
        found = _verified(probed)
    elif points:
        found = _measured(points)
    else:
        found = _usual(default_lrs)
    if starts:
        cyclic = found.peaks["cyclic"]
        base = min(_geometric_mean(starts), cyclic.lr)
        found.peaks["cyclic"] = cyclic.model_copy(update={"base": base})
    return found if lr_range is None else _bounded(found, *lr_range)


def summary(analyses: Sequence[Analysis], probes: Sequence[Probe] = ()) -> tuple[Status, str]:
    """The status of several sweeps together, and what they and the probes say in words."""
    status, told = _of_sweeps(analyses)
    unseen = all(analysis.lr_diverged is None for analysis in analyses)
    instead = ["The optimizer's usual rates stand in."] if unseen and not probes else []
    return status, " ".join([told, *instead, *_of_probes(probes)])


def _of_sweeps(analyses: Sequence[Analysis]) -> tuple[Status, str]:
    statuses: list[Status] = [analysis.status for analysis in analyses]
    usable = [a for a in analyses if a.lr_diverged is not None]
    if not statuses:
        return "too_few_points", "The budget is too small for a sweep."
    if not usable:
        worst = max(statuses, key=statuses.count)
        return worst, f"No sweep gave a usable signal ({worst})."
    points = [a.lr_diverged for a in usable if a.lr_diverged is not None]
    status: Status = "ok" if any(a.status == "ok" for a in usable) else "did_not_diverge"
    where = f"between {min(points):.3g} and {max(points):.3g}"
    told = f"{len(usable)} of {len(analyses)} sweeps"
    if status == "ok":
        return status, f"{told} agree that training diverges {where}."
    if all(a.status == "nan_at_step" for a in usable):
        return "nan_at_step", f"{told} gave a signal before the loss was not finite, {where}."
    return status, f"{told} gave a signal, and none diverged: the bound {where} is the sweep's end."


def _of_probes(probes: Sequence[Probe]) -> list[str]:
    return [
        _of_kind(kind, [probe for probe in probes if probe.kind == kind])
        for kind in dict.fromkeys(probe.kind for probe in probes)
    ]


def _of_kind(kind: Kind, probes: Sequence[Probe]) -> str:
    told = f"{len(probes)} probes of kind {kind}, {probes[0].steps} updates each"
    best = min(probes, key=lambda p: math.inf if p.loss is None else p.loss)
    if best.loss is None:
        return f"{told}, all diverged."
    return f"{told}: the held-out loss is lowest ({best.loss:.3g}) at {best.lr:g}."


def _verified(probed: Mapping[Kind, Plateau]) -> Suggestion:
    """Kinds that were not probed follow from decay to zero, or from whichever was."""
    like = "decaying" if "decaying" in probed else next(iter(probed))
    found, share, around = probed[like], SHARES[like], 10**PROBED_DECADES
    peaks = _peaks(found.centre / share, found.low / share, found.high / share)
    for kind, own in probed.items():
        peaks[kind] = Peak(lr=own.centre, low=own.low, high=own.high, probed=True)
    centre = peaks["decaying"].lr
    return Suggestion(low=centre / around, high=centre * around, peaks=peaks, source="probes")


def _measured(points: list[float]) -> Suggestion:
    diverged = _geometric_mean(points)
    return Suggestion(
        low=diverged / BOUND_BELOW,
        high=diverged * BOUND_ABOVE,
        peaks=_peaks(diverged / DIVISOR, min(points) / DIVISOR, max(points) / DIVISOR),
        source="range_test",
    )


def _peaks(lr: float, low: float, high: float) -> dict[Kind, Peak]:
    """Of every kind, given that of decaying schedules."""
    return {kind: Peak(lr=k * lr, low=k * low, high=k * high) for kind, k in SHARES.items()}


def _usual(default_lrs: tuple[float, ...]) -> Suggestion:
    below, above = FALLBACK_DECADES
    flat, high = min(default_lrs), max(default_lrs)
    return Suggestion(
        low=flat * 10**-below,
        high=high * 10**above,
        peaks={kind: Peak(lr=flat if kind == "constant" else high) for kind in SHARES},
        source="optimizer_default",
    )


def _bounded(found: Suggestion, low: float, high: float) -> Suggestion:
    peaks = {}
    for kind, peak in found.peaks.items():
        rates = peak.model_dump(exclude={"probed"}, exclude_none=True).items()
        inside = {name: min(max(rate, low), high) for name, rate in rates}
        peaks[kind] = peak.model_copy(update=inside)
    return Suggestion(low=low, high=high, peaks=peaks, source="job")


def _geometric_mean(rates: list[float]) -> float:
    return math.exp(sum(map(math.log, rates)) / len(rates))
