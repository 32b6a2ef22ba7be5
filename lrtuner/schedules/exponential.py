"""Exponential decay."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from lrtuner.schedules._base import Array, BaseBody, Length
from lrtuner.space import LogUniform, Range


class Exponential(BaseBody):
    """v(tau) = r^(tau / D),  D `decay_steps`, r `rate`: the factor after each D steps.

    Has no end of its own: it goes on until the horizon. A rate above 1 grows (a geometric sweep).
    torch: `ExponentialLR(gamma=r^(1/D))`; Keras: `ExponentialDecay`.
    """

    family: Literal["exponential"] = "exponential"
    decay_steps: Length
    rate: Annotated[float, Field(gt=0, le=1e6)]

    space: ClassVar[Mapping[str, Range]] = {"end_factor": LogUniform(low=1e-3, high=0.3)}

    def factors(self, tau: Array) -> Array:
        return self.rate ** (tau / self.decay_steps)

    def expression(self) -> str:
        return f"{self.rate!r} ** (tau / {self.decay_steps!r})"

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(decay_steps=decay_steps, rate=params["end_factor"])

    def stretched(self, ratio: float) -> Self:
        return self.model_copy(update={"decay_steps": self.decay_steps * ratio})
