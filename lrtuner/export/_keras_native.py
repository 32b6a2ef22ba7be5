"""Schedules that a class in `keras.optimizers.schedules` gives by itself (read in Keras 3.15).

Each function proposes, for a family, what a person would write; what else the schedule has (offset,
floor, another warmup) makes the rates differ, and the proposal is dropped.
"""

from collections.abc import Iterator

import numpy as np

from lrtuner.export._native import Native, Single, first_that_agrees, floored, levels, over
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.cosine_restarts import CosineRestarts
from lrtuner.schedules.exponential import Exponential
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.inverse_time import InverseTime
from lrtuner.schedules.polynomial import Polynomial


def native(schedule: Schedule) -> Native | None:
    """Keras' own object with the schedule's rates, up to the horizon at least; None if none."""
    return first_that_agrees(_proposals(schedule), schedule)


def _proposals(schedule: Schedule) -> Iterator[Native]:
    match schedule.body:
        case Exponential() as body:
            yield _exponential(schedule.peak_lr, body)
        case InverseTime(staircase=False) as body:
            yield _inverse_time(schedule.peak_lr, body)
        case Polynomial() as body:
            yield _polynomial(schedule.peak_lr, body)
        case Cosine() as body:
            yield _cosine(schedule, body)
        # with other t_mult the cycle is found by a logarithm in single precision, which is a step
        # early or late where a cycle begins
        case CosineRestarts(t_mult=1.0) as body:
            yield _restarts(schedule.peak_lr, body)
    # steps of equal length too, instead of `staircase=True`: see `floored`
    if pieces := levels(schedule):
        yield _piecewise(*pieces)


def _exponential(peak: float, body: Exponential) -> Native:
    steps, rate = body.decay_steps, body.rate
    call = _call("ExponentialDecay", peak, decay_steps=steps, decay_rate=rate)
    return Native(call, lambda t: peak * rate ** over(t, steps))


def _inverse_time(peak: float, body: InverseTime) -> Native:
    steps, rate = body.decay_steps, body.rate
    call = _call("InverseTimeDecay", peak, decay_steps=steps, decay_rate=rate)
    return Native(call, lambda t: peak / (1.0 + rate * over(t, steps)))


def _polynomial(peak: float, body: Polynomial) -> Native:
    steps, end, power = body.decay_steps, peak * body.end_factor, body.power
    return Native(
        _call("PolynomialDecay", peak, decay_steps=steps, end_learning_rate=end, power=power),
        lambda t: (peak - end) * (1.0 - over(np.minimum(t, steps), steps)) ** power + end,
        ends=steps,
    )


def _cosine(schedule: Schedule, body: Cosine) -> Native:
    """`alpha` is a share of the peak; `decay_steps` is without the warmup, which is linear."""
    peak, warmup = schedule.peak_lr, schedule.warmup
    steps, alpha = body.decay_steps, body.end_factor

    def decay(t: Single) -> Single:
        u = over(np.minimum(t, steps), steps)
        wave: Single = 0.5 * (1.0 + np.cos(np.float32(np.pi) * u))
        return peak * ((1.0 - alpha) * wave + alpha)

    if warmup is None:
        return Native(_call("CosineDecay", peak, decay_steps=steps, alpha=alpha), decay, ends=steps)
    start, length = peak * warmup.start_factor, warmup.steps

    def rates(t: Single) -> Single:
        return np.where(t < length, (peak - start) * over(t, length) + start, decay(t - length))

    warmed = {"warmup_target": peak, "warmup_steps": length}
    call = _call("CosineDecay", start, decay_steps=steps, alpha=alpha, **warmed)
    return Native(call, rates, ends=length + steps)


def _restarts(peak: float, body: CosineRestarts) -> Native:
    """The floor `alpha` is not scaled by `m_mul`: with both, another schedule than ours."""
    first, m_mul, alpha = body.first_steps, body.m_mult, body.end_factor

    def rates(t: Single) -> Single:
        cycle = floored(t, first)
        u = over(t, first) - cycle
        wave = 0.5 * m_mul**cycle * (1.0 + np.cos(np.float32(np.pi) * u))
        return peak * ((1.0 - alpha) * wave + alpha)

    call = _call(
        "CosineDecayRestarts", peak, first_decay_steps=first, t_mul=1.0, m_mul=m_mul, alpha=alpha
    )
    return Native(call, rates)


def _piecewise(starts: list[int], rates: list[float]) -> Native:
    """A piece ends with its boundary: the rate changes one step after it."""
    boundaries = [start - 1 for start in starts]
    values = np.array(rates)
    return Native(
        _call("PiecewiseConstantDecay", boundaries=boundaries, values=rates),
        lambda t: values[np.searchsorted(boundaries, t, side="left")],
        ends=starts[-1],
    )


def _call(name: str, *args: float, **kwargs: object) -> str:
    told = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    lines = "".join(f"        {argument},\n" for argument in told)
    return f"keras.optimizers.schedules.{name}(\n{lines}    )"
