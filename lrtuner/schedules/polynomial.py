"""Polynomial decay; power 1 is linear decay."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from lrtuner.schedules._base import Array, BaseBody, Factor, Length, between
from lrtuner.space import Choice, LogUniform, Range


class Polynomial(BaseBody):
    """v(tau) = e + (1 - e) (1 - u)^p,  u = min(tau / D, 1).

    D `decay_steps`, p `power`, e `end_factor`.

    Power 1 is linear decay; to zero it is a strong default (Defazio et al. 2023, arXiv 2310.07831).
    After D steps it holds e. torch: `PolynomialLR` (e = 0); Keras: `PolynomialDecay`.
    """

    family: Literal["polynomial"] = "polynomial"
    decay_steps: Length
    power: Annotated[float, Field(gt=0, le=100, description="1 is linear decay.")] = 1.0
    end_factor: Factor = 0.0

    lengths: ClassVar[tuple[str, ...]] = ("decay_steps",)
    space: ClassVar[Mapping[str, Range]] = {
        "power": LogUniform(low=0.5, high=4.0),
        "end_factor": Choice(values=(0.0, 0.01, 0.1)),
    }
    decays_fully: ClassVar[bool] = True

    def at(self, tau: Array) -> Array:
        u = np.clip(tau / self.decay_steps, 0.0, 1.0)
        return self.end_factor + (1.0 - self.end_factor) * (1.0 - u) ** self.power

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        fall = f"(1.0 - min(tau / {self.decay_steps!r}, 1.0))"
        power = "" if self.power == 1.0 else f" ** {self.power!r}"
        return [f"v = {between(self.end_factor, fall + power)}"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        return cls(decay_steps=decay_steps, power=params["power"], end_factor=params["end_factor"])

    def boundaries(self, length: float) -> list[float]:
        end = self.decay_steps - self.offset
        return [end] if end <= length else []
