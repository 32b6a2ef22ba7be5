"""The schedule: peak x [warmup] body [cooldown], with a floor. The one evaluator."""

from typing import Annotated, Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from lrtuner.errors import InvalidInputError
from lrtuner.schedules import Body
from lrtuner.schedules._base import SHORTEST, Array, Factor
from lrtuner.schedules.curves import (
    COOLDOWNS,
    WARMUPS,
    CooldownCurve,
    Curve,
    Power,
    check_power,
)
from lrtuner.schedules.inputs import absolute
from lrtuner.schedules.table import MAX_VALUES, Table
from lrtuner.strict import Strict, does_not_fit

MAX_STEPS = 1_000_000_000
_CHECKPOINTS = 12

Unit = Literal["step", "epoch", "second"]


class _Ramp(Strict):
    """A way between two factors along a curve."""

    curves: ClassVar[dict[str, Curve]]

    @property
    def _curve(self) -> Curve:
        return self.curves[self.curve]  # type: ignore[attr-defined]  # each names its own

    @property
    def parameter(self) -> float:
        """The number that the curve depends on; 0 if on none."""
        name = self._curve.parameter
        return float(getattr(self, name)) if name else 0.0

    @property
    def expression(self) -> str:
        """The curve as a Python expression of `u`."""
        return self._curve.expression.format(p=repr(self.parameter))

    def along(self, u: Array) -> Array:
        """The curve at each u, clipped to [0, 1]."""
        return self._curve(np.clip(u, 0.0, 1.0), self.parameter)


class Warmup(_Ramp):
    """The prefix: from `start_factor` at t = 0 up to 1 at t = `steps`, along `curve`.

    v(t) = s + (1 - s) rise(t / W) for t < W. The default start, 1 / (W + 1), makes a linear warmup
    (t + 1) / (W + 1): the first update already learns something. An exponential warmup needs
    0 < s < 1.
    """

    steps: Annotated[float, Field(gt=0, le=MAX_STEPS, description="Its length.")]
    start_factor: Factor
    curve: Literal["linear", "cosine", "exponential", "logarithmic"] = Field(
        default="linear", description="How it rises."
    )

    curves: ClassVar[dict[str, Curve]] = WARMUPS

    @model_validator(mode="before")
    @classmethod
    def _default_start(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "start_factor" in data:
            return data
        steps, start = data.get("steps"), 1.0
        if isinstance(steps, int | float) and 0 < steps <= MAX_STEPS:
            start = 1.0 / (steps + 1.0)
        # what is no length is refused by itself, and needs no second complaint
        return {**data, "start_factor": start}

    @model_validator(mode="after")
    def _exponential_has_a_start(self) -> Self:
        if self.curve == "exponential" and not 0.0 < self.start_factor < 1.0:
            told = f"{self.start_factor}: an exponential warmup needs more than 0 and less than 1"
            raise does_not_fit("start_factor", told)
        return self


class Cooldown(_Ramp):
    """The suffix: an envelope that takes the body down to `end_factor` from t = `start` on.

    v(t) = e + (v - e) fall((t - start) / steps) for t >= start; after `steps` it holds e. The curve
    `power` is (1 - u)^p and alone has a `power` p.
    """

    start: Annotated[float, Field(ge=0, le=MAX_STEPS, description="The t it acts from.")]
    steps: Annotated[float, Field(ge=SHORTEST, le=MAX_STEPS, description="Its length.")]
    end_factor: Factor = 0.0
    curve: CooldownCurve = Field(default="linear", description="How it falls.")
    # left out where it is not used: documents from before it keep their content hash
    power: Annotated[
        Power | None,
        Field(exclude_if=lambda p: p is None, description="The exponent of the curve `power`."),
    ] = None

    curves: ClassVar[dict[str, Curve]] = COOLDOWNS

    @model_validator(mode="after")
    def _power_has_a_use(self) -> Self:
        check_power(self.curve, self.power)
        return self


class Schedule(Strict):
    """The learning rate as a pure function of time t; T is `total_steps`, the horizon.

    `unit` says what t, T and every length count. In steps, t = 0, 1, ..., T - 1 counts successful
    optimizer steps, and lr(t) is used *by* update t + 1. In epochs, it counts completed epochs, and
    lr(t) is used throughout epoch t + 1. In seconds, it is the time spent training.

    With W the warmup's length and v the factor of the peak:

        tau = max(t - W, 0) + body.offset
        v   = body(tau)
        v   = e + (v - e) fall((t - start) / C)      if there is a cooldown and t >= start
        v   = max(v, min_factor)                     the floor: body and cooldown, not warmup
        v   = s + (1 - s) rise(t / W)                if t < W
        lr  = peak_lr v

    From t = T on the rate is held at the lower of lr(T - 1) and lr(T), so that a schedule never
    rebounds. Lengths are real numbers. On input they may be relative ("0.1dur", "5ep"), and a
    `preset` may stand for warmup, body and cooldown; what is kept is absolute.
    """

    kind: Literal["closed_form"] = Field(
        default="closed_form", description="The rates are a function of time."
    )
    unit: Unit = Field(default="step", description="What t, `total_steps` and every length count.")
    total_steps: Annotated[
        int, Field(ge=1, le=MAX_STEPS, description="The horizon T: the length of the training.")
    ]
    peak_lr: Annotated[
        float, Field(gt=0, le=1e6, description="The rate that all factors are factors of.")
    ]
    warmup: Warmup | None = Field(default=None, description="The prefix; null for none.")
    body: Body = Field(description="The part between warmup and cooldown.")
    cooldown: Cooldown | None = Field(default=None, description="The suffix; null for none.")
    min_factor: Annotated[
        Factor, Field(description="The floor of body and cooldown, as a factor of the peak.")
    ] = 0.0
    after_end: Literal["hold"] = Field(
        default="hold", description="After the horizon the rate is held."
    )

    @model_validator(mode="before")
    @classmethod
    def _absolute(cls, data: Any) -> Any:
        return absolute(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup and self.warmup.steps > self.total_steps:
            told = f"longer than the run: at most total_steps, {self.total_steps}"
            raise does_not_fit("warmup.steps", f"{self.warmup.steps} is {told}")
        return self

    @overload
    def __call__(self, t: float) -> float: ...
    @overload
    def __call__(self, t: ArrayLike) -> Any: ...
    def __call__(self, t: Any) -> Any:
        """The learning rate at time `t` (in the unit): a float for a number, an array for an array.

        Raises:
            InvalidInputError: a step is negative, NaN or not a number.
        """
        steps = np.asarray(t, dtype=np.float64)
        if not np.all(steps >= 0.0):
            raise InvalidInputError(f"a step must be 0 or more, got {t!r}")
        rates = self._rates(np.atleast_1d(steps))
        return float(rates[0]) if steps.ndim == 0 else rates.reshape(steps.shape)

    def values(self) -> Array:
        """The rates at t = 0, 1, ..., T - 1: float64, shape (total_steps,)."""
        return self.peak_lr * self._factors(np.arange(self.total_steps, dtype=np.float64))

    @property
    def hold_step(self) -> int:
        """The time whose rate is held after the horizon: T, or T - 1 if lr(T) would be higher."""
        end = self.total_steps
        last, after = self._factors(np.array([end - 1.0, float(end)]))
        return end if after <= last else end - 1

    def boundaries(self) -> list[int]:
        """The t in 0..T-1 at or next to which the formula changes its case, sorted."""
        warmup = self.warmup.steps if self.warmup else 0.0
        corners = [0.0, 1.0, warmup - 1, warmup, warmup + 1, self.total_steps / 2]
        corners += [warmup + tau for tau in self.body.boundaries(self.total_steps - warmup)]
        if self.cooldown:
            corners += [self.cooldown.start, self.cooldown.start + 1]
        corners.append(self.total_steps - 1)
        steps = {int(np.ceil(c)) for c in corners if 0 <= c <= self.total_steps - 1}
        return sorted(steps)

    def checkpoints(self) -> list[list[float]]:
        """About a dozen [t, rate] pairs by which any loader can test itself."""
        steps = self.boundaries()
        if len(steps) > _CHECKPOINTS:
            kept = np.linspace(0, len(steps) - 1, _CHECKPOINTS).round().astype(int)
            steps = [steps[i] for i in kept]
        rates = self._rates(np.array(steps, dtype=np.float64))
        return [[step, float(rate)] for step, rate in zip(steps, rates, strict=True)]

    def rescaled(self, total_steps: int) -> Self:
        """The same shape over another horizon: every length multiplied by the same ratio."""
        ratio = total_steps / self.total_steps
        warmup, cooldown = self.warmup, self.cooldown
        warmup_steps = min(warmup.steps * ratio, float(total_steps)) if warmup else 0.0
        return self.model_copy(
            update={
                "total_steps": total_steps,
                "body": self.body.stretched(ratio),
                "warmup": warmup and warmup.model_copy(update={"steps": warmup_steps}),
                "cooldown": cooldown
                and cooldown.model_copy(
                    update={"start": cooldown.start * ratio, "steps": cooldown.steps * ratio}
                ),
            }
        )

    def bare(self) -> "Schedule":
        """The schedule alone, without a config's verdict and provenance."""
        return Schedule(**{name: getattr(self, name) for name in Schedule.model_fields})

    def in_steps(self, steps_per_epoch: int) -> "Schedule":
        """The same rates counted in optimizer steps: those of an epoch hold throughout it.

        Raises:
            InvalidInputError: the unit is the second, or the run is too long for a table.
        """
        if self.unit == "step":
            return self.bare()
        if self.unit == "second":
            raise InvalidInputError("unit: a schedule in seconds cannot be counted in steps")
        total_steps = self.total_steps * steps_per_epoch
        if total_steps > MAX_VALUES:
            raise InvalidInputError(f"{total_steps} steps; at most {MAX_VALUES} can be tabled")
        epochs = self._factors(np.arange(self.total_steps, dtype=np.float64))
        factors = tuple(np.repeat(epochs, steps_per_epoch).tolist())
        return Schedule(total_steps=total_steps, peak_lr=self.peak_lr, body=Table(values=factors))

    @property
    def document(self) -> dict[str, Any]:
        """The schedule as plain JSON data, the body's family first for the reader."""
        data = self.model_dump(mode="json", by_alias=True)
        data["body"] = {"family": self.body.family, **data["body"]}
        return data

    def _rates(self, t: Array) -> Array:
        after = t >= self.total_steps
        if after.any():  # where to hold costs an evaluation of its own
            t = np.where(after, float(self.hold_step), t)
        return self.peak_lr * self._factors(t)

    def _factors(self, t: Array) -> Array:
        warmup_steps = self.warmup.steps if self.warmup else 0.0
        v = self.body.at(np.maximum(t - warmup_steps, 0.0) + self.body.offset)
        if self.cooldown:
            late = t >= self.cooldown.start
            v[late] = _cooled(self.cooldown, t[late], v[late])
        v = np.maximum(v, self.min_factor)
        if self.warmup:
            early = t < warmup_steps
            v[early] = _warmed(self.warmup, t[early])
        return v


def _cooled(cooldown: Cooldown, t: Array, v: Array) -> Array:
    end, fall = cooldown.end_factor, cooldown.along((t - cooldown.start) / cooldown.steps)
    return end + (v - end) * fall


def _warmed(warmup: Warmup, t: Array) -> Array:
    start, rise = warmup.start_factor, warmup.along(t / warmup.steps)
    return start + (1.0 - start) * rise
