"""Schedules that transformers makes by itself, from `TrainingArguments` alone (read in 5.23).

For a family, `_proposals` gives the types and settings that a person would try; what else the
schedule has (offset, floor, another warmup) makes the rates differ, and the proposal is dropped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrtuner.document import ReactiveDocument
from lrtuner.export._formula import EXACT_WITHIN
from lrtuner.schedules._base import Array
from lrtuner.schedules.constant import Constant
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.cosine_restarts import CosineRestarts
from lrtuner.schedules.grammar import Cooldown, Schedule
from lrtuner.schedules.inverse_power import InversePower
from lrtuner.schedules.polynomial import Polynomial

MAX_TRIED = 1_000_000
"""Longer schedules are not compared step by step, so nothing is said of them."""

_FALLS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda u: 1.0 - u,
    "cosine": lambda u: 0.5 * (1.0 + np.cos(np.pi * u)),
    "1-sqrt": lambda u: 1.0 - np.sqrt(u),
}
_CURVES = {"linear": "linear", "cosine": "cosine", "one_minus_sqrt": "1-sqrt"}

Factors = Callable[[Array], Array]
Kwargs = dict[str, Any]


@dataclass(frozen=True)
class Native:
    """A `lr_scheduler_type` and its settings.

    `factors` is its formula over steps, in transformers' own order: where rounding matters, at the
    boundaries of cycles, only trying tells. `afterwards` is what it does from step T on.
    """

    name: str
    factors: Factors
    warmup_steps: int = 0
    kwargs: Kwargs | None = None
    afterwards: str = "holds the rate"

    @property
    def arguments(self) -> Kwargs:
        """The fields of `TrainingArguments` that ask for it."""
        asked = {"lr_scheduler_type": self.name, "warmup_steps": self.warmup_steps}
        return asked | ({"lr_scheduler_kwargs": self.kwargs} if self.kwargs else {})


def native(schedule: Schedule) -> Native | None:
    """The first proposal with the schedule's rates at t = 0, ..., T - 1; None if there is none."""
    if schedule.unit != "step" or schedule.total_steps > MAX_TRIED:
        return None
    steps = np.arange(schedule.total_steps, dtype=np.float64)
    factors = schedule.values() / schedule.peak_lr
    return next((own for own in _proposals(schedule) if _agree(own, steps, factors)), None)


def _agree(own: Native, steps: Array, factors: Array) -> bool:
    with np.errstate(all="ignore"):  # a proposal may be nonsense for what it was not made for
        return bool(np.max(np.abs(own.factors(steps) - factors)) <= EXACT_WITHIN)


def plateau_arguments(document: ReactiveDocument) -> Kwargs:
    """The fields of `TrainingArguments` that ask for torch's `ReduceLROnPlateau`."""
    rule = document.body
    names = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown")
    kwargs = {name: getattr(rule, name) for name in names}
    kwargs |= {"min_lr": rule.min_factor * document.peak_lr, "eps": 0.0}
    return {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": kwargs}


def _proposals(schedule: Schedule) -> Iterator[Native]:
    total, rise = schedule.total_steps, round(schedule.warmup.steps) if schedule.warmup else 0
    match schedule.body:
        case Constant():
            yield Native("constant", np.ones_like)
            yield Native("constant_with_warmup", _warmed(np.ones_like, rise), rise)
            cooldown = schedule.cooldown
            if cooldown and cooldown.curve in _CURVES and cooldown.start >= rise:
                yield _stable_decay(schedule, cooldown, rise)
        case Polynomial() as body:
            yield _linear(total, rise)
            yield from _polynomial(schedule, body, rise)
            if body.power == 1.0:
                yield _stable_decay(schedule, _cooldown(body, "linear", rise), rise)
        case Cosine() as body:
            yield _cosine(total, body, rise)
            yield _warmed_cosine(schedule, body, rise)
            yield _stable_decay(schedule, _cooldown(body, "cosine", rise), rise)
        case CosineRestarts() as body:
            yield _restarts(total, body, rise)
        case InversePower() as body:
            yield _inverse_sqrt(body, rise)


def _warmed(factors: Factors, rise: int) -> Factors:
    """`factors` from the end of a linear warmup on, which starts at 0."""
    return lambda t: np.where(t < rise, t / max(rise, 1), factors(np.maximum(t, rise)))


def _linear(total: int, rise: int) -> Native:
    def factors(t: Array) -> Array:
        return np.maximum(0.0, (total - t) / max(1, total - rise))

    return Native("linear", _warmed(factors, rise), rise)


def _polynomial(schedule: Schedule, body: Polynomial, rise: int) -> Iterator[Native]:
    peak, power = schedule.peak_lr, body.power
    end = body.end_factor * peak

    def factors(t: Array) -> Array:
        remaining = 1.0 - (t - rise) / (schedule.total_steps - rise)
        return ((peak - end) * remaining**power + end) / peak

    if end < peak:  # transformers refuses anything else
        kwargs = {"lr_end": end, "power": power}
        yield Native("polynomial", _warmed(factors, rise), rise, kwargs)


def _cosine(total: int, body: Cosine, rise: int) -> Native:
    """Its `num_cycles` are counted over the rest of the run, whatever the length of ours."""
    end, length = body.end_factor, max(1, total - rise)
    cycles = 0.5 * length / body.decay_steps

    def factors(t: Array) -> Array:
        return _between(end, np.cos(np.pi * cycles * 2.0 * ((t - rise) / length)))

    kwargs = {"min_lr_rate": end} if end else {}
    name = "cosine_with_min_lr" if end else "cosine"
    return Native(name, _warmed(factors, rise), rise, kwargs | _cycles(cycles), "rises again")


def _warmed_cosine(schedule: Schedule, body: Cosine, rise: int) -> Native:
    """The type whose warmup does not start at 0, and is over at `warmup_steps` - 1."""
    start = schedule.warmup.start_factor if schedule.warmup else 0.0
    end, length = body.end_factor, max(1, schedule.total_steps - rise - 1)
    cycles = 0.5 * length / body.decay_steps

    def factors(t: Array) -> Array:
        warm = start + (1.0 - start) * t / max(1, rise)
        cosine = _between(end, np.cos(np.pi * cycles * 2.0 * ((t - rise) / length)))
        return np.where(t <= rise, warm, cosine)

    kwargs = {"warmup_lr_rate": start, "min_lr_rate": end} | _cycles(cycles)
    return Native("cosine_warmup_with_min_lr", factors, rise + 1, kwargs, "rises again")


def _between(end: float, cosine: Array) -> Array:
    return np.maximum(0.0, 0.5 * (1.0 + cosine) * (1.0 - end) + end)


def _cycles(cycles: float) -> Kwargs:
    return {} if cycles == 0.5 else {"num_cycles": cycles}


def _restarts(total: int, body: CosineRestarts, rise: int) -> Native:
    length = max(1, total - rise)
    cycles = length / body.first_steps

    def factors(t: Array) -> Array:
        return 0.5 * (1.0 + np.cos(np.pi * ((cycles * ((t - rise) / length)) % 1.0)))

    kwargs = {"num_cycles": _plain(cycles)}
    return Native("cosine_with_restarts", _warmed(factors, rise), rise, kwargs, "is 0")


def _inverse_sqrt(body: InversePower, rise: int) -> Native:
    scale = body.timescale

    def factors(t: Array) -> Array:
        return 1.0 / np.sqrt((t + (scale - rise)) / scale)

    kwargs = {"timescale": _plain(scale)}
    return Native("inverse_sqrt", _warmed(factors, rise), rise, kwargs, "goes on falling")


def _stable_decay(schedule: Schedule, decay: Cooldown, rise: int) -> Native:
    """Both its ends are at `min_lr_ratio`; `num_stable_steps` are what is left if not given."""
    start, steps, end = round(decay.start), max(1, round(decay.steps)), decay.end_factor
    fall = _FALLS[_CURVES[decay.curve]]
    warmup = schedule.warmup.curve if schedule.warmup else "linear"
    up = _FALLS[warmup if warmup in _FALLS else "linear"]

    def factors(t: Array) -> Array:
        warm = 1.0 - up(np.clip(t / max(1, rise), 0.0, 1.0))
        down = fall(np.clip((t - start) / steps, 0.0, 1.0))
        return np.where(t < rise, warm, down) * (1.0 - end) + end

    kwargs = {"decay_type": _CURVES[decay.curve], "num_decay_steps": steps, "min_lr_ratio": end}
    if warmup == "cosine":
        kwargs["warmup_type"] = "cosine"
    if start + steps != schedule.total_steps:
        kwargs["num_stable_steps"] = start - rise
    over = "goes on falling" if start + steps > schedule.total_steps else "holds the rate"
    return Native("warmup_stable_decay", factors, rise, kwargs, over)


def _cooldown(body: Polynomial | Cosine, curve: str, rise: int) -> Cooldown:
    """A body that is like a cooldown."""
    shape = {"start": rise, "steps": body.decay_steps, "end_factor": body.end_factor}
    return Cooldown.model_validate(shape | {"curve": curve})


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number
