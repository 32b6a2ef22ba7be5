"""What every schedule family is: a frozen model whose formula is a pure function of time."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from lrtuner.errors import UnsupportedError
from lrtuner.space import Range
from lrtuner.strict import Strict

Array = NDArray[np.float64]

SHORTEST = 1e-6
"""The shortest length, in units of time. Below it nothing is left to see, and numbers overflow."""

Length = Annotated[
    float, Field(ge=SHORTEST, le=1e12, description="A length in the schedule's unit.")
]
Factor = Annotated[float, Field(ge=0, le=1, description="A factor of the peak learning rate.")]

HAIR = 1e-9
"""A boundary this share of a period ahead counts as reached (of a unit, where there is no period):
97 / 9.7 is ten periods, whatever binary rounding makes of 9.7."""


def _family_first(schema: dict[str, Any]) -> None:
    """In a document the family has no default: it says which of them it is."""
    schema["properties"]["family"]["description"] = "Which family it is."
    schema["required"] = ["family", *schema.get("required", [])]


class BaseBody(Strict, ABC):
    """The body of a schedule: the part between warmup and cooldown.

    A family is one subclass in one file: its parameters, its formula over `tau` (time since the
    end of warmup, plus `offset`), and the ranges a search may draw its parameters from.
    """

    model_config = ConfigDict(json_schema_extra=_family_first)

    offset: Annotated[
        int, Field(ge=0, le=1_000_000_000, description="Added to tau: how far in the body starts.")
    ] = 0

    lengths: ClassVar[tuple[str, ...]] = ()
    """The parameters that are lengths in the unit: they stretch, and may be relative on input."""

    monotone: ClassVar[bool] = True
    """Whether the factor starts at 1 and never rises."""

    rises: ClassVar[bool] = False
    """Whether the body rises to its peak by itself, so that a warmup would only fall back."""

    decays_fully: ClassVar[bool] = False
    """Whether the body comes down to its end by itself, so that a cooldown adds nothing."""

    searched: ClassVar[bool] = True
    """Whether a search may propose the family."""

    space: ClassVar[Mapping[str, Range]] = {}
    """Ranges of the family's parameters in relative terms: fractions, factors, counts."""

    @abstractmethod
    def at(self, tau: Array) -> Array:
        """The factor of the peak at each `tau` (float64, same shape, all in [0, 1])."""

    @abstractmethod
    def statements(self, end: float) -> list[str]:
        """Python that sets `v` from `tau`, for exports that stand alone.

        It may use `math` and `bisect`, and holds for 0 <= tau <= `end`.
        """

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:  # noqa: ARG003
        """The body that sampled `params` (keys of `space`) stand for over `decay_steps`."""
        raise UnsupportedError(f"the family of {cls.__name__} is given, not searched")

    def stretched(self, ratio: float) -> Self:
        """The same shape with every length multiplied by `ratio`."""
        lengths = {name: _times(getattr(self, name), ratio) for name in self.lengths}
        return self.model_copy(update={**lengths, "offset": round(self.offset * ratio)})

    def boundaries(self, length: float) -> list[float]:  # noqa: ARG002 - families without corners
        """Where in 0..`length` after the warmup the body has corners: checksum points."""
        return []


def between(end: float, share: str) -> str:
    """Python for end + (1 - end) share, as short as `end` lets it be; `share` is a product."""
    return share if end == 0.0 else f"{end!r} + {1.0 - end!r} * {share}"


def _times(lengths: float | tuple[float, ...], ratio: float) -> float | tuple[float, ...]:
    if isinstance(lengths, tuple):
        return tuple(length * ratio for length in lengths)
    return lengths * ratio
