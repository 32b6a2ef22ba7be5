"""What every schedule family is: a frozen model whose formula is a pure function of the step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lrtuner.space import Range
from lrtuner.strict import Strict

Array = NDArray[np.float64]

Length = Annotated[float, Field(gt=0, le=1e12, description="A length in the schedule's unit.")]
Factor = Annotated[float, Field(ge=0, le=1, description="A factor of the peak learning rate.")]


class BaseBody(Strict, ABC):
    """The body of a schedule: the part between warmup and cooldown.

    A family is one subclass in one file: its parameters, its formula over `tau` (steps since the
    end of warmup, plus `offset`), and the ranges a search may draw its parameters from.
    """

    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0

    space: ClassVar[Mapping[str, Range]] = {}
    """Ranges of the family's parameters in relative terms: fractions, factors, counts."""

    decays_fully: ClassVar[bool] = False
    """Whether the body comes down to its end by itself, so that a cooldown adds nothing."""

    @abstractmethod
    def factors(self, tau: Array) -> Array:
        """The factor of the peak at each `tau` (float64, same shape, all >= 0)."""

    @abstractmethod
    def expression(self) -> str:
        """The formula as a Python expression of `tau` and `math`, for exports that stand alone."""

    @classmethod
    @abstractmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        """The body that sampled `params` (keys of `space`) stand for over `decay_steps` steps."""

    @abstractmethod
    def stretched(self, ratio: float) -> Self:
        """The same shape with every length multiplied by `ratio`."""

    def boundaries(self, length: float) -> list[float]:  # noqa: ARG002 - families without corners
        """Where in 0..`length` steps after the warmup the body has corners: checksum points."""
        return []
