"""Schedules made of optax's own functions (read in optax 0.2.8).

A linear warmup, the body and a cooldown are one function each, joined; each counts from the join.
What else the schedule has makes the rates differ, and the proposal is dropped.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lrtuner.export._native import MAX_LEVELS, Native, Single, first_that_agrees, levels, over
from lrtuner.schedules.constant import Constant
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.cosine_restarts import CosineRestarts
from lrtuner.schedules.exponential import Exponential
from lrtuner.schedules.grammar import Cooldown, Schedule, Warmup
from lrtuner.schedules.polynomial import Polynomial

Pieces = list[tuple[float, Native]]
"""Where each piece begins, and what it is."""


def native(schedule: Schedule) -> Native | None:
    """Optax's own functions with the schedule's rates, up to the horizon at least; None if none."""
    return first_that_agrees(_proposals(schedule), schedule)


def _proposals(schedule: Schedule) -> Iterator[Native]:
    if pieces := _pieces(schedule):
        yield _joined(pieces)
    # steps of equal length too, instead of `staircase=True`: see `_native.floored`
    if warmup := schedule.warmup:
        end = math.ceil(warmup.steps)
        if constants := levels(schedule, since=end):
            first = (0.0, _warmup(schedule.peak_lr, warmup))
            yield _joined([first, (float(end), _piecewise(*constants))])
    if constants := levels(schedule):
        yield _piecewise(*constants)


def _pieces(schedule: Schedule) -> Pieces:
    peak, warmup, cooldown = schedule.peak_lr, schedule.warmup, schedule.cooldown
    begin = warmup.steps if warmup else 0.0
    body = _body(schedule, schedule.total_steps - begin)
    if not body:
        return []
    body = [(begin + start, piece) for start, piece in body]
    before = [(0.0, _warmup(peak, warmup))] if warmup else []
    after = [(cooldown.start, _cooldown(peak, _settled(schedule), cooldown))] if cooldown else []
    return [*before, *body, *after]


def _body(schedule: Schedule, end: float) -> Pieces:
    """The body's pieces, counted from its begin; none where optax has nothing like it."""
    peak, body = schedule.peak_lr, schedule.body
    match body:
        case Constant():
            return [(0.0, _constant(peak))]
        case Polynomial(decay_steps=steps, power=power, end_factor=low):
            return [(0.0, _polynomial(peak, peak * low, steps, power))]
        case Cosine(decay_steps=steps, end_factor=low):
            return [(0.0, _cosine(peak, low, steps))]
        case Exponential(decay_steps=steps, rate=rate):
            return [(0.0, _exponential(peak, steps, rate, schedule.min_factor))]
        case CosineRestarts():
            return _restarts(peak, body, end)
    return []


def _settled(schedule: Schedule) -> float:
    """The factor at which the body has come to rest before a cooldown."""
    body = schedule.body
    return body.end_factor if isinstance(body, Polynomial | Cosine | CosineRestarts) else 1.0


def _warmup(peak: float, warmup: Warmup) -> Native:
    return _polynomial(peak * warmup.start_factor, peak, warmup.steps, 1.0)


def _cooldown(peak: float, settled: float, cooldown: Cooldown) -> Native:
    high, low = peak * settled, cooldown.end_factor
    if cooldown.curve == "cosine":
        return _cosine(high, low / settled if settled else 0.0, cooldown.steps)
    return _polynomial(high, peak * low, cooldown.steps, cooldown.power or 1.0)


def _constant(rate: float) -> Native:
    return Native(f"optax.constant_schedule({rate!r})", lambda t: np.full_like(t, rate), ends=0.0)


def _polynomial(high: float, low: float, steps: float, power: float) -> Native:
    how = f"{high!r}, {low!r}, transition_steps={_number(steps)}"
    return Native(
        f"optax.linear_schedule({how})"
        if power == 1.0
        else f"optax.polynomial_schedule({how}, power={power!r})",
        lambda t: (high - low) * (1.0 - over(np.clip(t, 0.0, steps), steps)) ** power + low,
        ends=steps,
    )


def _cosine(high: float, alpha: float, steps: float) -> Native:
    def rates(t: Single) -> Single:
        wave: Single = 0.5 * (1.0 + np.cos(over(np.float32(np.pi) * np.minimum(t, steps), steps)))
        return high * ((1.0 - alpha) * wave + alpha)

    how = f"{high!r}, decay_steps={_number(steps)}, alpha={alpha!r}"
    return Native(f"optax.cosine_decay_schedule({how})", rates, ends=steps)


def _exponential(peak: float, steps: float, rate: float, low: float) -> Native:
    """`end_value` is a floor, not where the decay ends; with a rate of 1 it is a ceiling."""
    floor = peak * low if rate < 1.0 else 0.0
    how = f"{peak!r}, transition_steps={_number(steps)}, decay_rate={rate!r}"
    how += f", end_value={floor!r}" if floor else ""
    return Native(
        f"optax.exponential_decay({how})",
        lambda t: np.maximum(peak * rate ** over(t, steps), floor),
    )


def _restarts(peak: float, body: CosineRestarts, end: float) -> Pieces:
    """A cosine per cycle; after the last of them it stays low."""
    pieces: Pieces = []
    start, length, height = 0.0, body.first_steps, 1.0
    while start < end and len(pieces) < (body.cycles or np.inf):
        if len(pieces) == MAX_LEVELS or not height:
            return []
        pieces.append((start, _cosine(peak * height, body.end_factor / height, length)))
        start, length, height = start + length, length * body.t_mult, height * body.m_mult
    return pieces


def _piecewise(starts: list[int], rates: list[float]) -> Native:
    """Each rate is a multiple of the one before; nothing but 0 follows a 0."""
    scales = [after / before if before else np.nan for before, after in pairwise(rates)]
    values = np.array(rates[:1] + [rates[0] * scale for scale in np.cumprod(scales)])
    told = ", ".join(f"{start}: {scale!r}" for start, scale in zip(starts, scales, strict=True))
    return Native(
        f"optax.piecewise_constant_schedule({rates[0]!r}, {{{told}}})",
        lambda t: values[np.searchsorted(starts, t, side="right")],
        ends=starts[-1],
    )


def _joined(pieces: Pieces) -> Native:
    first, *others = (piece for _, piece in pieces)
    starts = [start for start, _ in pieces[1:]]
    if not others:
        return first

    def rates(t: Single) -> Single:
        joined = first.rates(t)
        for start, piece in zip(starts, others, strict=True):
            joined = np.where(t < start, joined, piece.rates(t - start))
        return joined

    told = "".join(f"            {piece.source},\n" for piece in (first, *others))
    boundaries = ", ".join(map(_number, starts))
    arguments = f"        [\n{told}        ],\n        boundaries=[{boundaries}],\n"
    source = f"optax.join_schedules(\n{arguments}    )"
    return replace(others[-1], source=source, rates=rates, ends=starts[-1] + others[-1].ends)


def _number(length: float) -> str:
    """Optax counts whole steps exactly, and others in single precision."""
    return repr(int(length)) if length.is_integer() else repr(length)
