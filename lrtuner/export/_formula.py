"""The schedule as a Python function of its own: exports that compute rates are built on it."""

import bisect
import math
from functools import lru_cache
from typing import Any

import numpy as np

from lrtuner.document import ScheduleDocument
from lrtuner.schedules.grammar import Schedule

SAMPLES = 20_000

EXACT_WITHIN = 1e-12
"""Rounding of the same formula by another library, relative to the peak."""

EXACT_WITHIN_SINGLE = 2e-6
"""The same in single precision."""


def source(schedule: Schedule) -> str:
    """A function `learning_rate(t)` in plain Python and its constants; it needs `imports`.

    t counts the schedule's unit.
    """
    counted = {"step": "optimizer steps", "epoch": "completed epochs", "second": "seconds"}
    number = "float" if schedule.unit == "second" else "int"
    return f'''PEAK_LR = {schedule.peak_lr!r}
TOTAL_STEPS = {schedule.total_steps!r}  # the horizon, in {schedule.unit}s


def learning_rate(t: {number}) -> float:
    """The rate after t {counted[schedule.unit]} of training; after the horizon it is held."""
{_body(schedule)}
'''


def step_source(schedule: ScheduleDocument) -> str:
    """`source`, and `rate_at(step)`: the same counted in optimizer steps, whatever the unit.

    A schedule in epochs needs its context; one in seconds cannot be counted so.
    """
    if schedule.unit == "step":
        return source(schedule) + "\n\nrate_at = learning_rate\n"
    assert schedule.unit == "epoch" and schedule.context  # noqa: S101, PT018 - else unsupported
    return (
        source(schedule)
        + f'''

STEPS_PER_EPOCH = {schedule.context.steps_per_epoch!r}


def rate_at(step: int) -> float:
    """The rate of update number `step`, counted from 0."""
    return learning_rate(step // STEPS_PER_EPOCH)
'''
    )


def imports(schedule: Schedule) -> list[str]:
    """What `source` needs imported."""
    body = _body(schedule)
    return [f"import {name}" for name in ("bisect", "math") if f"{name}." in body]


def error(schedule: Schedule, precision: str = "float64") -> float:
    """The largest difference between the function's rates and the schedule's, over the peak.

    Every t up to the horizon and a little past it is compared, or 20,000 of them. The function
    computes in double precision; its rates are kept in `precision`, a NumPy dtype.
    """
    return _error(schedule.bare(), precision)


@lru_cache(maxsize=16)
def _error(schedule: Schedule, precision: str) -> float:
    namespace: dict[str, Any] = {"bisect": bisect, "math": math}
    exec(source(schedule), namespace)  # noqa: S102 - our own formula, built from numbers
    learning_rate = namespace["learning_rate"]
    end = schedule.total_steps + 2
    steps = np.unique(np.linspace(0, end, min(end + 1, SAMPLES)).astype(np.int64))
    rates = np.array([learning_rate(int(step)) for step in steps], dtype=precision)
    return float(np.max(np.abs(rates - schedule(steps))) / schedule.peak_lr)


def _body(schedule: Schedule) -> str:
    end, held = schedule.total_steps, schedule.hold_step
    lines = [f"t = float({f'min(t, {end})' if held == end else f't if t < {end} else {held}'})"]
    warmup, cooldown, start = schedule.warmup, schedule.cooldown, 0.0
    if warmup:
        start = warmup.steps
        s = warmup.start_factor
        lines += [
            f"if t < {start!r}:  # warmup",
            f"    u = t / {start!r}",
            f"    return PEAK_LR * ({s!r} + {1.0 - s!r} * ({warmup.expression}))",
        ]
    # in the order in which the schedule adds them, so that both round alike
    offset = schedule.body.offset
    tau = "tau = t" + (f" - {start!r}" if start else "") + (f" + {offset!r}" if offset else "")
    lines += [tau, *schedule.body.statements(end - start + offset)]
    if cooldown:
        e = cooldown.end_factor
        lines += [
            f"if t >= {cooldown.start!r}:  # cooldown",
            f"    u = min((t - {cooldown.start!r}) / {cooldown.steps!r}, 1.0)",
            f"    v = {e!r} + (v - {e!r}) * ({cooldown.expression})",
        ]
    floor = schedule.min_factor
    lines.append(f"return PEAK_LR * max(v, {floor!r})" if floor else "return PEAK_LR * v")
    return "\n".join("    " + line for line in lines)
