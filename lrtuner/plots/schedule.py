"""The picture of a schedule: its curve, its phases, and the baseline it was compared with."""

import numpy as np
from numpy.typing import NDArray

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument
from lrtuner.plots._axis import Axis, from_zero
from lrtuner.plots._card import card
from lrtuner.plots._chart import Band, Chart, Line, Note
from lrtuner.schedules.grammar import Schedule
from lrtuner.words import (
    Rows,
    baseline_schedule,
    family_name,
    number,
    rule_rows,
    schedule_rows,
    title,
    verdict_rows,
)

MAX_POINTS = 2000
"""Of a curve. Up to 1000 steps or epochs are drawn one by one."""

_COLUMNS = MAX_POINTS // 6
_SAMPLES = 200_000
_GOLDEN = 0.6180339887498949

_CLOCK = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))

Array = NDArray[np.float64]


def schedule_svg(document: AnyDocument) -> str:
    """The schedule as the text of an SVG file: a chart, or for a rule that reacts, a card.

    The curve is the rate at each t from 0 to the horizon, as it is used: in steps and epochs it is
    constant from one t to the next. The dashed curve is the verdict's baseline.
    """
    if isinstance(document, ReactiveDocument):
        rows: Rows = [("kind", "reacts to a metric: it has no rate of its own at a given step")]
        return card(title(document), [*rows, *rule_rows(document)])
    baseline = baseline_schedule(document.verdict)
    if baseline and baseline.unit != document.unit:
        baseline = None
    return _chart(document, baseline).svg()


def phases(schedule: Schedule) -> list[tuple[str, float, float]]:
    """The phases with the t they begin at and the t they end before."""
    end = float(schedule.total_steps)
    warm = min(schedule.warmup.steps, end) if schedule.warmup else 0.0
    cool = max(min(schedule.cooldown.start, end), warm) if schedule.cooldown else end
    found = [("warmup", 0.0, warm), ("body", warm, cool), ("cooldown", cool, end)]
    return [phase for phase in found if phase[1] < phase[2]]


def curve(schedule: Schedule, end: int) -> tuple[Array, Array]:
    """At most MAX_POINTS points (t, rate) of the schedule's curve from t = 0 to `end`.

    Of each column of the picture they are the first and the last rate, the lowest and the highest,
    and the two beside the largest jump: spikes keep their height, and jumps are vertical.
    """
    if schedule.unit == "second":
        t = _spread(schedule, end)
        return _thinned(t, schedule(t), end)
    if 2 * end <= MAX_POINTS:
        rates = schedule(np.arange(end))
        return np.repeat(np.arange(end + 1.0), 2)[1:-1], np.repeat(rates, 2)
    every = end <= _SAMPLES
    t = np.arange(float(end)) if every else np.unique(np.floor(_spread(schedule, end)[:-1]))
    rates = schedule(t)
    return _thinned(np.append(t, end), np.append(rates, rates[-1]), end)


def _spread(schedule: Schedule, end: int) -> Array:
    """Times from 0 to `end`, with the corners, at no regular distance: a cycle must not hide."""
    i = np.arange(_SAMPLES)
    t = (i + i * _GOLDEN % 1.0) * (end / _SAMPLES)
    corners = np.array([*schedule.boundaries(), end])
    corners = np.concatenate([corners - 1.0, corners])
    return np.unique(np.concatenate([t, corners[(corners >= 0) & (corners <= end)]]))


def _thinned(t: Array, rates: Array, end: int) -> tuple[Array, Array]:
    column = np.minimum(t * (_COLUMNS / end), _COLUMNS - 1).astype(int)
    starts = np.flatnonzero(np.diff(column)) + 1
    kept: set[int] = set()
    for group in np.split(np.arange(len(t)), starts):
        own = rates[group]
        jump = int(np.argmax(np.abs(np.diff(own)))) if len(own) > 1 else 0
        after = min(jump + 1, len(own) - 1)
        places = (0, -1, int(np.argmin(own)), int(np.argmax(own)), jump, after)
        kept |= {int(group[place]) for place in places}
    index = sorted(kept)
    return t[index], rates[index]


def _chart(schedule: ScheduleDocument, baseline: Schedule | None) -> Chart:
    per_unit, axis_label = counted(schedule)
    curves = [curve(s, schedule.total_steps) for s in (schedule, baseline) if s]
    labels = [f"recommended: {title(schedule)}", f"baseline: {title(baseline)}" if baseline else ""]
    lines = [
        Line(t / per_unit, rates, label, style)
        for style, ((t, rates), label) in enumerate(zip(curves, labels, strict=False))
    ]
    highest = max(float(np.max(rates)) for _, rates in curves) or schedule.peak_lr
    bands = [
        Band(
            first / per_unit,
            end / per_unit,
            family_name(schedule) if name == "body" else name,
            shaded=name != "body",
        )
        for name, first, end in phases(schedule)
    ]
    whole = schedule.unit != "second"
    return Chart(
        title(schedule),
        Axis(axis_label, 0.0, schedule.total_steps / per_unit, whole=whole),
        from_zero("learning rate", highest),
        [*bands, *reversed(lines), *_notes(schedule, *curves[0], per_unit)],
        subtitle=_subtitle(schedule),
        description=_description(schedule),
    )


def counted(schedule: Schedule) -> tuple[float, str]:
    """By how many of the unit the axis counts, and what."""
    if schedule.unit != "second":
        return 1.0, f"completed {'optimizer steps' if schedule.unit == 'step' else 'epochs'}"
    fits = (pair for pair in _CLOCK if schedule.total_steps >= 2 * pair[0])
    seconds, name = next(fits, _CLOCK[-1])
    return float(seconds), f"{name} of training"


def _notes(schedule: Schedule, t: Array, rates: Array, per_unit: float) -> list[Note]:
    peak = int(np.argmax(rates))
    name = "peak" if number(rates[peak]) == number(schedule.peak_lr) else "highest"
    return [
        Note(t[peak] / per_unit, rates[peak], f"{name} {number(rates[peak])}"),
        Note(t[-1] / per_unit, rates[-1], f"end {number(rates[-1])}"),
    ]


def _subtitle(schedule: ScheduleDocument) -> str:
    verdict = schedule.verdict
    if verdict is None:
        return "no verdict: it was not compared with anything"
    told = dict(verdict_rows(verdict))
    words = [told[name] for name in ("verdict", "difference", "interval") if name in told]
    return "verdict: " + "; ".join(words)


def _description(schedule: ScheduleDocument) -> str:
    rows = schedule_rows(schedule)
    if schedule.verdict:
        rows += verdict_rows(schedule.verdict)
    return "; ".join(f"{name}: {text}" for name, text in rows)
