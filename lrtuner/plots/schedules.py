"""Every schedule that was tried as a picture: small ones side by side, the best first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrtuner.agreement import common_seed
from lrtuner.evidence import TrialRecord
from lrtuner.lifecycle import TrialState
from lrtuner.plots._shapes import path
from lrtuner.plots._svg import element, picture, words
from lrtuner.schedules.grammar import Schedule
from lrtuner.words import family_name, number, plural

WIDTH = 760.0
COLUMNS = 5
MOST = 20
"""Schedules in a picture of which two fit a page."""

_EDGE, _GAP, _HEAD, _ROW = 16.0, 14.0, 26.0, 17.0
_CELL = (WIDTH - 2 * _EDGE - (COLUMNS - 1) * _GAP) / COLUMNS
_BOX = 46.0
_PITCH = 3 * _ROW + _BOX + _GAP
_SAMPLES = 240


@dataclass(frozen=True)
class _Arm:
    """One schedule: its place among those of its horizon, its runs, and the seed that counts."""

    runs: list[TrialRecord]
    seed: int
    place: int = 0

    @property
    def value(self) -> float | None:
        """On that seed; without a run on it the mean. None unless every finished run has one."""
        done = [run for run in self.runs if run.state is not TrialState.RUNNING]
        known = [(run.seed, run.value) for run in done if run.value is not None]
        if not known or len(known) < len(done):
            return None
        values = [value for seed, value in known if seed == self.seed] or [v for _, v in known]
        return math.fsum(values) / len(values)

    @property
    def told(self) -> str:
        """The value, or what came instead."""
        if self.value is not None:
            return number(self.value)
        states = [run.state for run in self.runs if run.value is None]
        state = max(states, key=states.count)
        return "no value" if state is TrialState.COMPLETE else state.value  # a target was missed

    def order(self, sign: float) -> tuple[float, int]:
        """Sorts the best first, and what has no value last."""
        return math.inf if self.value is None else sign * self.value, self.runs[0].number


Group = tuple[int, list[_Arm]]
"""A horizon and its schedules."""


def schedules_svg(trials: Sequence[TrialRecord], sign: float) -> str:
    """A cell for each schedule; by horizon, the longest first, and then by its value.

    That is the value on the seed that most runs over the horizon have; `sign` is +1 where a smaller
    one is better, -1 where a larger is. Over each curve stand its place, the number of its first
    run and its value, below it the peak: every curve is drawn up to its own. Comparisons are left
    out: with another optimizer a rate means something else.
    """
    return _picture(_by_horizon(trials, sign))


def schedules_pages(trials: Sequence[TrialRecord], sign: float) -> list[str]:
    """The same in pictures of one horizon and at most 20 schedules each."""
    return [
        _picture([(steps, arms[i : i + MOST])])
        for steps, arms in _by_horizon(trials, sign)
        for i in range(0, len(arms), MOST)
    ]


def _picture(groups: Sequence[Group]) -> str:
    title = "Schedules, best first"
    parts = [words(_EDGE, _EDGE + 14.0, title, class_="title")]
    top = _EDGE + _HEAD
    for steps, arms in groups:
        heading = f"over {plural(steps, 'step')}, {arms[0].place} to {arms[-1].place}"
        parts.append(words(_EDGE, top + 10.0, heading, class_="quiet"))
        top += _HEAD
        for i, arm in enumerate(arms):
            row, column = divmod(i, COLUMNS)
            parts += _cell(_EDGE + column * (_CELL + _GAP), top + row * _PITCH, arm)
        top += math.ceil(len(arms) / COLUMNS) * _PITCH
    told = "; ".join(_description(steps, arms) for steps, arms in groups)
    return picture(parts, width=WIDTH, height=top, title=title, description=told)


def _by_horizon(trials: Sequence[TrialRecord], sign: float) -> list[Group]:
    horizons: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        if trial.purpose != "comparison":
            horizons.setdefault(trial.schedule.total_steps, []).append(trial)
    return [(steps, _ranked(runs, sign)) for steps, runs in sorted(horizons.items(), reverse=True)]


def _ranked(trials: Sequence[TrialRecord], sign: float) -> list[_Arm]:
    by_arm: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        by_arm.setdefault(trial.arm, []).append(trial)
    seed = common_seed(trials)
    arms = sorted((_Arm(runs, seed) for runs in by_arm.values()), key=lambda arm: arm.order(sign))
    return [replace(arm, place=place) for place, arm in enumerate(arms, start=1)]


def _cell(left: float, top: float, arm: _Arm) -> Iterator[str]:
    first, right = arm.runs[0], left + _CELL
    schedule, below = first.schedule, top + 2 * _ROW + _BOX
    yield words(left, top + 12.0, f"{arm.place}. #{first.number}")
    yield words(right, top + 12.0, arm.told, text_anchor="end")
    yield words(left, top + _ROW + 12.0, family_name(schedule), class_="quiet")
    yield element("line", class_="grid", x1=left, y1=below, x2=right, y2=below)
    yield element("path", class_="line s0", d=_curve(schedule, left, below))
    yield words(left, below + 15.0, f"peak {number(schedule.peak_lr)}", class_="quiet")
    if len(arm.runs) > 1:
        many = f"x {len(arm.runs)}"
        yield words(right, below + 15.0, many, class_="quiet", text_anchor="end")


def _curve(schedule: Schedule, left: float, bottom: float) -> str:
    end = schedule.total_steps
    t = np.arange(end) if end <= _SAMPLES else np.linspace(0, end - 1, _SAMPLES).round()
    rates = schedule(t)
    xs = left + _CELL * (t / max(end - 1, 1))
    ys = bottom - (_BOX - 8.0) * rates / max(float(np.max(rates)), schedule.peak_lr)
    return path(list(zip(xs.tolist(), ys.tolist(), strict=True)))


def _description(steps: int, arms: Sequence[_Arm]) -> str:
    cells = (
        f"#{arm.runs[0].number} {family_name(arm.runs[0].schedule)} {arm.told}" for arm in arms
    )
    return f"over {plural(steps, 'step')}: {', '.join(cells)}"
