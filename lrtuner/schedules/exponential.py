"""Exponential decay."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from lrtuner.schedules._base import Array, BaseBody, Length
from lrtuner.space import LogUniform, Range


class Exponential(BaseBody):
    """v(tau) = r^(tau / D),  D `decay_steps`, r `rate`: the factor after each D steps.

    Has no end of its own: it goes on until the horizon.
    torch: `ExponentialLR(gamma=r^(1/D))`; Keras: `ExponentialDecay`.
    """

    family: Literal["exponential"] = "exponential"
    decay_steps: Length
    rate: Annotated[float, Field(gt=0, le=1, description="The factor after each `decay_steps`.")]

    lengths: ClassVar[tuple[str, ...]] = ("decay_steps",)
    space: ClassVar[Mapping[str, Range]] = {"end_factor": LogUniform(low=1e-3, high=0.3)}

    def at(self, tau: Array) -> Array:
        return self.rate ** (tau / self.decay_steps)

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        return [f"v = {self.rate!r} ** (tau / {self.decay_steps!r})"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(decay_steps=decay_steps, rate=params["end_factor"])
