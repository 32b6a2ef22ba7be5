"""Inverse-power decay: inverse square root, Noam, invscaling, the power scheduler."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from lrtuner.schedules._base import Array, BaseBody, Length
from lrtuner.space import LogUniform, Range, Uniform


class InversePower(BaseBody):
    """v(tau) = (1 + tau / k)^(-p),  k `timescale`, p `power`.

    Power 0.5 is the inverse square root of Vaswani et al. 2017 (arXiv 1706.03762) and of
    transformers' `inverse_sqrt`. Goes on until the horizon.
    """

    family: Literal["inverse_power"] = "inverse_power"
    timescale: Length
    power: Annotated[float, Field(gt=0, le=100, description="0.5 is an inverse root.")] = 0.5

    lengths: ClassVar[tuple[str, ...]] = ("timescale",)
    space: ClassVar[Mapping[str, Range]] = {
        "timescale_fraction": LogUniform(low=0.01, high=1.0),
        "power": Uniform(low=0.3, high=1.0),
    }

    def at(self, tau: Array) -> Array:
        return (1.0 + tau / self.timescale) ** -self.power

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        return [f"v = (1.0 + tau / {self.timescale!r}) ** {-self.power!r}"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(timescale=params["timescale_fraction"] * decay_steps, power=params["power"])
