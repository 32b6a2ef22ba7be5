"""Cyclic learning rates between two bounds."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from lrtuner.schedules._base import HAIR, SHORTEST, Array, BaseBody, Factor, Length
from lrtuner.space import Choice, IntUniform, LogUniform, Range
from lrtuner.strict import does_not_fit

_MAX_BOUNDARIES = 8


class Cyclic(BaseBody):
    """v(tau) = b + (1 - b) tri(tau) a,  a = 1, 2^-c or gamma^tau by `mode`.

    tri rises from 0 to 1 over `up` and falls back over `down` (as long as `up` if left out), again
    and again; c counts the cycles from 0; b is `base_factor`. Mode `triangular` repeats,
    `triangular2` halves the height with each cycle, `exp_range` lets it decay by `gamma`.

    Smith 2017 (arXiv 1506.01186). torch: `CyclicLR(cycle_momentum=False)`.
    """

    family: Literal["cyclic"] = "cyclic"
    up: Length
    down: Length
    base_factor: Factor
    mode: Literal["triangular", "triangular2", "exp_range"] = Field(
        default="triangular", description="How the height changes from cycle to cycle."
    )
    gamma: Annotated[
        float, Field(gt=0, le=1, description="Of `exp_range`: what the height decays by.")
    ] = 1.0

    lengths: ClassVar[tuple[str, ...]] = ("up", "down")
    space: ClassVar[Mapping[str, Range]] = {
        "cycles": IntUniform(low=1, high=4),
        "base_factor": LogUniform(low=0.01, high=0.3),
        "halving": Choice(values=(0.0, 1.0)),
    }
    monotone: ClassVar[bool] = False
    rises: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _symmetric(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "down" in data or "up" not in data:
            return data
        up = data["up"]
        # what is no length is refused by itself, and needs no second complaint
        is_length = isinstance(up, int | float) and SHORTEST <= up <= 1e12
        return {**data, "down": up if is_length else 1.0}

    @model_validator(mode="after")
    def _gamma_has_a_use(self) -> Self:
        if self.gamma != 1.0 and self.mode != "exp_range":
            raise does_not_fit(
                "gamma", f"{self.gamma} has no meaning in mode {self.mode}: leave it out"
            )
        return self

    def at(self, tau: Array) -> Array:
        period = self.up + self.down
        cycle = np.floor(tau / period + HAIR)
        x = np.maximum(tau - cycle * period, 0.0)
        tri = np.where(x <= self.up, x / self.up, np.maximum(period - x, 0.0) / self.down)
        return self.base_factor + (1.0 - self.base_factor) * tri * self._height(tau, cycle)

    def _height(self, tau: Array, cycle: Array) -> Array:
        if self.mode == "triangular2":
            return 0.5**cycle
        return self.gamma**tau

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        up, down, period, b = self.up, self.down, self.up + self.down, self.base_factor
        height = "0.5 ** cycle" if self.mode == "triangular2" else f"{self.gamma!r} ** tau"
        return [
            f"cycle = math.floor(tau / {period!r} + {HAIR!r})",
            f"x = max(tau - cycle * {period!r}, 0.0)",
            f"tri = x / {up!r} if x <= {up!r} else max({period!r} - x, 0.0) / {down!r}",
            f"v = {b!r} + {1.0 - b!r} * tri * {height}",
        ]

    def stretched(self, ratio: float) -> Self:
        """The same shape: `gamma` is per unit of time, so its root is taken."""
        slower = self.model_copy(update={"gamma": self.gamma ** (1.0 / ratio)})
        return super(Cyclic, slower).stretched(ratio)

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        half = decay_steps / (2.0 * params["cycles"])
        return cls(
            up=half,
            down=half,
            base_factor=params["base_factor"],
            mode="triangular2" if params["halving"] else "triangular",
        )

    def boundaries(self, length: float) -> list[float]:
        period = self.up + self.down
        count = min(int(length / period) + 1, _MAX_BOUNDARIES // 2)
        corners = [i * period + x for i in range(count) for x in (self.up, period)]
        return [corner - self.offset for corner in corners]
