"""How two schedule configs differ: their rates at every step, and what else is said in them."""

import math
from typing import Literal

import numpy as np

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument
from lrtuner.schedules._base import Array
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.table import MAX_VALUES
from lrtuner.strict import Record
from lrtuner.words import (
    Rows,
    number,
    plural,
    provenance_rows,
    rule_rows,
    schedule_rows,
    verdict_rows,
)

SAME_RATE = 1e-12
"""Rates that differ by at most this share of the highest one are the same: rounding."""

MAX_POINTS = 1_000_000
"""Of a run with more steps so many are compared, evenly spread, and every corner of both."""

SHARES = 10_000
"""Where two runs are not counted alike, so many equal shares of them are compared."""

_TOLD_APART = ("optimizer", "param groups", "training")


class Apart(Record):
    """A place of the run, the rates there, and how far apart they are.

    `at` counts the unit of the comparison, or is a share of the run. `apart` is b / a, or b - a as
    a share of the highest rate.
    """

    at: float
    a: float
    b: float
    apart: float


class Comparison(Record):
    """The rates of b beside those of a, at each of `points` places.

    The places are every t that both have (`by` is their unit), or, where units or horizons differ,
    equal shares of both runs (`share`). They are `equal` if they are over the same horizon and no
    rate differs by more than 1e-12 of the highest one; a rate below that counts as 0. Ratios are
    b / a: of the peaks, of the mean rates (the areas under the curves), and at the place where it
    is farthest from 1, among those where neither rate is 0. `zero_in_one` counts the places where
    one of them is. What has no ratio is null.
    """

    by: Literal["step", "epoch", "second", "share"]
    points: int
    equal: bool
    peak_ratio: float | None
    mean_ratio: float | None
    largest_ratio: Apart | None
    largest_difference: Apart
    zero_in_one: int


def compare(a: ScheduleDocument, b: ScheduleDocument) -> Comparison:
    """The rates of b beside those of a.

    A schedule in epochs is compared with one in steps step by step, if one of them says how many
    steps an epoch has.
    """
    alike = _counted_alike(a, b)
    by = alike[0].unit if _same_horizon(*alike) else "share"
    t = _places(*alike) if by != "share" else np.arange(SHARES) / SHARES
    ours, theirs = (_rates(s, t if by != "share" else t * s.total_steps) for s in alike)
    highest = max(float(np.max(ours)), float(np.max(theirs))) or 1.0
    gaps = (theirs - ours) / highest
    far = int(np.argmax(np.abs(gaps)))
    zero = SAME_RATE * highest
    return Comparison(
        by=by,
        points=len(t),
        equal=by != "share" and bool(np.max(np.abs(gaps)) <= SAME_RATE),
        peak_ratio=_ratio(a.peak_lr, b.peak_lr),
        mean_ratio=_ratio(float(np.mean(ours)), float(np.mean(theirs))),
        largest_ratio=_largest_ratio(t, ours, theirs, zero),
        largest_difference=_apart(far, t, ours, theirs, float(gaps[far])),
        zero_in_one=int(np.count_nonzero((ours > zero) != (theirs > zero))),
    )


def same_rates(a: Schedule, b: Schedule) -> bool:
    """Whether both are over one horizon and give the same rate everywhere, but for rounding."""
    if not _same_horizon(a, b):
        return False
    t = _places(a, b)
    ours, theirs = a(t), b(t)
    highest = max(float(np.max(ours)), float(np.max(theirs)))
    return bool(np.max(np.abs(theirs - ours)) <= SAME_RATE * highest)


def comparison_rows(found: Comparison, names: tuple[str, str] = ("a", "b")) -> Rows:
    """The numbers in words."""
    if found.equal:
        return [("rates", f"the same at every {found.by}")]
    a, b = names
    rows: Rows = []
    if found.by == "share":
        rows.append(("compared", "at equal shares of the two runs: they are not equally long"))
    for name, ratio in (("peak", found.peak_ratio), ("mean rate", found.mean_ratio)):
        if ratio is not None:
            rows.append((name, f"{b} has {_times(ratio)} that of {a}"))
    far = found.largest_difference
    told = f"{number(abs(far.apart) * 100)} % of the highest rate, {_where(far, found.by)}"
    rows.append(("farthest", told))
    if found.largest_ratio:
        most = found.largest_ratio
        rows.append(("ratio", f"farthest from 1 is {_times(most.apart)}, {_where(most, found.by)}"))
    if found.zero_in_one:
        rows.append(("zero", f"in one of them alone at {plural(found.zero_in_one, 'place')}"))
    return rows


def changed_rows(a: AnyDocument, b: AnyDocument) -> list[tuple[str, str, str]]:
    """What the two say differently, each with its name: a's words and b's."""
    ours, theirs = _said(a), _said(b)
    names = dict.fromkeys([*ours, *theirs])
    both = [(name, ours.get(name, "none"), theirs.get(name, "none")) for name in names]
    return [row for row in both if row[1] != row[2]]


def _said(document: AnyDocument) -> dict[str, str]:
    about = dict(provenance_rows(document))
    rest = {name: about[name] for name in _TOLD_APART if name in about}
    if isinstance(document, ReactiveDocument):
        return {"kind": "reacts to a metric", **dict(rule_rows(document)), **rest}
    length = {"length": plural(document.total_steps, document.unit)}
    verdict = dict(verdict_rows(document.verdict)) if document.verdict else {}
    verdict.pop("reason", None)
    return {**length, **dict(schedule_rows(document)), **rest, **verdict}


def _counted_alike(a: ScheduleDocument, b: ScheduleDocument) -> tuple[Schedule, Schedule]:
    context = a.context or b.context
    if {a.unit, b.unit} != {"step", "epoch"} or context is None:
        return a, b
    per_epoch = {s.unit: (s.context or context).steps_per_epoch for s in (a, b)}["epoch"]
    epochs = a.total_steps if a.unit == "epoch" else b.total_steps
    if epochs * per_epoch > MAX_VALUES:
        return a, b
    return a.in_steps(per_epoch), b.in_steps(per_epoch)


def _same_horizon(a: Schedule, b: Schedule) -> bool:
    return (a.unit, a.total_steps) == (b.unit, b.total_steps)


def _places(a: Schedule, b: Schedule) -> Array:
    end = a.total_steps
    if end <= MAX_POINTS:
        return np.arange(float(end))
    spread = np.floor(np.linspace(0.0, end - 1.0, MAX_POINTS))
    return np.unique(np.concatenate([spread, a.boundaries(), b.boundaries()]))


def _rates(schedule: Schedule, t: Array) -> Array:
    rates: Array = schedule(t if schedule.unit == "second" else np.floor(t))
    return rates


def _ratio(ours: float, theirs: float) -> float | None:
    ratio = theirs / ours if ours else math.inf
    return ratio if math.isfinite(ratio) else None


def _largest_ratio(t: Array, ours: Array, theirs: Array, zero: float) -> Apart | None:
    both = np.flatnonzero((ours > zero) & (theirs > zero))
    if not len(both):
        return None
    logs = np.log(theirs[both]) - np.log(ours[both])
    place = int(both[np.argmax(np.abs(logs))])
    return _apart(place, t, ours, theirs, float(theirs[place] / ours[place]))


def _apart(place: int, t: Array, ours: Array, theirs: Array, apart: float) -> Apart:
    return Apart(at=float(t[place]), a=float(ours[place]), b=float(theirs[place]), apart=apart)


def _times(ratio: float) -> str:
    return f"{number(ratio)} times"


def _where(found: Apart, by: str) -> str:
    at = f"after {found.at:.0%} of the run" if by == "share" else f"at {by} {number(found.at)}"
    return f"{at} ({number(found.a)} and {number(found.b)})"
