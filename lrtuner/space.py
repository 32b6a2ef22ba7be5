"""Search ranges as data: what a parameter may be, without saying who samples it."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lrtuner.strict import Strict


class _Interval(Strict):
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class Uniform(_Interval):
    """A real number in [low, high], evenly spread."""

    kind: Literal["uniform"] = "uniform"

    def at(self, u: float) -> float:
        """The value at quantile u in [0, 1]."""
        return self.low + (self.high - self.low) * u


class LogUniform(_Interval):
    """A real number in [low, high], its logarithm evenly spread; low > 0."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: Annotated[float, Field(gt=0)]

    def at(self, u: float) -> float:
        """The value at quantile u in [0, 1]."""
        value = math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * u)
        return min(max(value, self.low), self.high)  # exp(log(x)) may leave the range by one ulp


class IntUniform(_Interval):
    """A whole number in low..high, both included."""

    kind: Literal["int_uniform"] = "int_uniform"
    low: int
    high: int

    def at(self, u: float) -> int:
        """The value at quantile u in [0, 1]."""
        return min(self.low + int(u * (self.high - self.low + 1)), self.high)


class Choice(Strict):
    """One of a few values, without an order."""

    kind: Literal["choice"] = "choice"
    values: tuple[float, ...] = Field(min_length=1)

    def at(self, u: float) -> float:
        """The value at quantile u in [0, 1]."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


Range = Annotated[Uniform | LogUniform | IntUniform | Choice, Field(discriminator="kind")]
