"""Step decay: a drop every so many steps."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from lrtuner.schedules._base import HAIR, Array, BaseBody, Length
from lrtuner.space import Choice, LogUniform, Range

_MAX_BOUNDARIES = 8


class Step(BaseBody):
    """v(tau) = r^floor(tau / k),  k `every`, r `rate`.

    The drops happen at tau = k, 2k, ...; with `offset` 1 each one step earlier (Keras callbacks
    that count from 1). Goes on until the horizon. torch: `StepLR`; Keras:
    `ExponentialDecay(staircase=True)`.
    """

    family: Literal["step"] = "step"
    every: Length
    rate: Annotated[float, Field(gt=0, le=1, description="The factor of each drop.")]

    lengths: ClassVar[tuple[str, ...]] = ("every",)
    space: ClassVar[Mapping[str, Range]] = {
        "drops": Choice(values=(1.0, 2.0, 3.0, 5.0)),
        "rate": LogUniform(low=0.05, high=0.7),
    }

    def at(self, tau: Array) -> Array:
        return self.rate ** np.floor(tau / self.every + HAIR)

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        return [f"v = {self.rate!r} ** math.floor(tau / {self.every!r} + {HAIR!r})"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(every=decay_steps / (params["drops"] + 1.0), rate=params["rate"])

    def boundaries(self, length: float) -> list[float]:
        count = min(math.floor(length / self.every), _MAX_BOUNDARIES)
        return [self.every * (i + 1) - self.offset for i in range(count)]
