"""Inverse-time decay, also called 1/t decay."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from lrtuner.schedules._base import HAIR, Array, BaseBody, Length
from lrtuner.space import LogUniform, Range


class InverseTime(BaseBody):
    """v(tau) = 1 / (1 + r tau / D), or with `staircase` 1 / (1 + r floor(tau / D)).

    D `decay_steps`, r `rate`. Robbins and Monro 1951; Keras `InverseTimeDecay`. Goes on until the
    horizon.
    """

    family: Literal["inverse_time"] = "inverse_time"
    decay_steps: Length
    rate: Annotated[float, Field(ge=0, le=1e12, description="How fast it decays.")]
    staircase: bool = Field(default=False, description="Whether it changes once per `decay_steps`.")

    lengths: ClassVar[tuple[str, ...]] = ("decay_steps",)
    space: ClassVar[Mapping[str, Range]] = {"end_factor": LogUniform(low=1e-3, high=0.3)}

    def at(self, tau: Array) -> Array:
        periods = tau / self.decay_steps
        return 1.0 / (1.0 + self.rate * (np.floor(periods + HAIR) if self.staircase else periods))

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        periods = f"tau / {self.decay_steps!r}"
        periods = f"math.floor({periods} + {HAIR!r})" if self.staircase else periods
        return [f"v = 1.0 / (1.0 + {self.rate!r} * ({periods}))"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(decay_steps=decay_steps, rate=1.0 / params["end_factor"] - 1.0)
