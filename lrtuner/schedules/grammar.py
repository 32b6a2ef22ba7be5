"""The schedule: peak x [warmup] body [cooldown], with a floor. The one evaluator."""

from typing import Annotated, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from lrtuner.errors import InvalidInputError
from lrtuner.schedules import Body
from lrtuner.schedules._base import Array, Factor
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS
from lrtuner.strict import Strict

MAX_STEPS = 1_000_000_000
_CHECKPOINTS = 12


class Warmup(Strict):
    """The prefix: from `start_factor` at t = 0 up to 1 at t = `steps`, along `curve`.

    v(t) = s + (1 - s) rise(t / W) for t < W. The default start, 1 / (W + 1), makes a linear warmup
    (t + 1) / (W + 1): the first update already learns something.
    """

    steps: Annotated[float, Field(gt=0, le=MAX_STEPS)]
    start_factor: Factor
    curve: Literal["linear", "cosine"] = "linear"

    @model_validator(mode="before")
    @classmethod
    def _default_start(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "start_factor" in data:
            return data
        steps = data.get("steps")
        if not isinstance(steps, int | float) or steps <= 0:
            return data
        return {**data, "start_factor": 1.0 / (steps + 1.0)}


class Cooldown(Strict):
    """The suffix: an envelope that takes the body down to `end_factor` from t = `start` on.

    v(t) = e + (v - e) fall((t - start) / steps) for t >= start; after `steps` it holds e.
    """

    start: Annotated[float, Field(ge=0, le=MAX_STEPS)]
    steps: Annotated[float, Field(gt=0, le=MAX_STEPS)]
    end_factor: Factor = 0.0
    curve: Literal["linear", "cosine", "one_minus_sqrt"] = "linear"


class Schedule(Strict):
    """The learning rate used *by* update t + 1, as a pure function of t = 0, 1, ..., T - 1.

    With W the warmup's length and v the factor of the peak:

        tau = max(t - W, 0) + body.offset
        v   = body(tau)
        v   = e + (v - e) fall((t - start) / C)      if there is a cooldown and t >= start
        v   = max(v, min_factor)                     the floor: body and cooldown, not warmup
        v   = s + (1 - s) rise(t / W)                if t < W
        lr  = peak_lr v

    t counts successful optimizer steps. From t = T on the rate is held at the lower of lr(T - 1)
    and lr(T), so that a schedule never rebounds. Lengths are real numbers of steps.
    """

    kind: Literal["closed_form"] = "closed_form"
    unit: Literal["step"] = "step"
    total_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    peak_lr: Annotated[float, Field(gt=0, le=1e6)]
    warmup: Warmup | None = None
    body: Body
    cooldown: Cooldown | None = None
    min_factor: Factor = 0.0
    after_end: Literal["hold"] = "hold"

    @model_validator(mode="after")
    def _finite(self) -> Self:
        edge = np.array([0.0, self.total_steps - 1.0, float(self.total_steps)])
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            rates = self.peak_lr * self._factors(edge)
        if not np.all(np.isfinite(rates)):
            raise ValueError("the schedule's rates overflow before its last step")
        return self

    @overload
    def __call__(self, t: float) -> float: ...
    @overload
    def __call__(self, t: ArrayLike) -> Any: ...
    def __call__(self, t: Any) -> Any:
        """The learning rate at step `t`: a float for a number, an array for an array.

        Raises:
            InvalidInputError: a step is negative, NaN or not a number.
        """
        steps = np.asarray(t, dtype=np.float64)
        if not np.all(steps >= 0.0):
            raise InvalidInputError(f"a step must be 0 or more, got {t!r}")
        rates = self._rates(np.atleast_1d(steps))
        return float(rates[0]) if steps.ndim == 0 else rates.reshape(steps.shape)

    def values(self) -> Array:
        """The rates of all updates: float64, shape (total_steps,)."""
        return self._rates(np.arange(self.total_steps, dtype=np.float64))

    @property
    def hold_step(self) -> int:
        """The step whose rate is held after the horizon: T, or T - 1 if lr(T) would be higher."""
        end = self.total_steps
        last, after = self._factors(np.array([end - 1.0, float(end)]))
        return end if after <= last else end - 1

    def boundaries(self) -> list[int]:
        """The steps in 0..T-1 at or next to which the formula changes its case, sorted."""
        warmup = self.warmup.steps if self.warmup else 0.0
        corners = [0.0, 1.0, warmup - 1, warmup, warmup + 1, self.total_steps / 2]
        corners += [warmup + tau for tau in self.body.boundaries(self.total_steps - warmup)]
        if self.cooldown:
            corners += [self.cooldown.start, self.cooldown.start + 1]
        corners.append(self.total_steps - 1)
        steps = {int(np.ceil(c)) for c in corners if 0 <= c <= self.total_steps - 1}
        return sorted(steps)

    def checkpoints(self) -> list[list[float]]:
        """About a dozen [step, rate] pairs by which any loader can test itself."""
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
        return self.model_copy(
            update={
                "total_steps": total_steps,
                "body": self.body.stretched(ratio),
                "warmup": warmup and warmup.model_copy(update={"steps": warmup.steps * ratio}),
                "cooldown": cooldown
                and cooldown.model_copy(
                    update={"start": cooldown.start * ratio, "steps": cooldown.steps * ratio}
                ),
            }
        )

    @property
    def document(self) -> dict[str, Any]:
        """The schedule as plain JSON data, the body's family first for the reader."""
        data = self.model_dump(mode="json", by_alias=True)
        data["body"] = {"family": self.body.family, **data["body"]}
        return data

    def _rates(self, t: Array) -> Array:
        held = np.where(t >= self.total_steps, float(self.hold_step), t)
        return self.peak_lr * self._factors(held)

    def _factors(self, t: Array) -> Array:
        warmup_steps = self.warmup.steps if self.warmup else 0.0
        v = self.body.factors(np.maximum(t - warmup_steps, 0.0) + self.body.offset)
        if self.cooldown:
            v = _cooled(self.cooldown, t, v)
        v = np.maximum(v, self.min_factor)
        return _warmed(self.warmup, t, v) if self.warmup else v


def _cooled(cooldown: Cooldown, t: Array, v: Array) -> Array:
    u = np.clip((t - cooldown.start) / cooldown.steps, 0.0, 1.0)
    fall = COOLDOWNS[cooldown.curve](u)
    end = cooldown.end_factor
    return np.where(t >= cooldown.start, end + (v - end) * fall, v)


def _warmed(warmup: Warmup, t: Array, v: Array) -> Array:
    rise = WARMUPS[warmup.curve](np.clip(t / warmup.steps, 0.0, 1.0))
    start = warmup.start_factor
    return np.where(t < warmup.steps, start + (1.0 - start) * rise, v)
