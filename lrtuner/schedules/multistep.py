"""Piecewise constant factors: drops at given milestones."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from lrtuner.schedules._base import HAIR, Array, BaseBody, Factor, Length
from lrtuner.space import LogUniform, Range, Uniform
from lrtuner.strict import does_not_fit

_MAX_MILESTONES = 10_000
_MAX_BOUNDARIES = 8


class Multistep(BaseBody):
    """v(tau) = factors[number of milestones <= tau].

    `milestones` rise; `factors` are of the peak (cumulative, not of the factor before), one more
    than there are milestones: the first holds before the first milestone. On input that one may be
    left out, and is 1. The factor changes at tau = milestone. torch: `MultiStepLR`; Keras'
    `PiecewiseConstantDecay` changes one step later.
    """

    family: Literal["multistep"] = "multistep"
    milestones: Annotated[
        tuple[Length, ...],
        Field(
            min_length=1,
            max_length=_MAX_MILESTONES,
            strict=False,
            description="Where the factor changes, rising.",
        ),
    ]
    factors: Annotated[
        tuple[Factor, ...],
        Field(
            min_length=1,
            max_length=_MAX_MILESTONES + 1,
            strict=False,
            description="The factor before the first milestone, and from each one on.",
            json_schema_extra={"minItems": 2},  # as stored
        ),
    ]

    lengths: ClassVar[tuple[str, ...]] = ("milestones",)
    space: ClassVar[Mapping[str, Range]] = {
        "first_drop": Uniform(low=0.3, high=0.8),
        "second_drop": Uniform(low=0.2, high=0.8),
        "rate": LogUniform(low=0.05, high=0.5),
    }
    monotone: ClassVar[bool] = False

    @field_validator("factors")
    @classmethod
    def _starts_at_one(cls, factors: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        is_left_out = len(factors) == len(info.data.get("milestones", ()))
        return (1.0, *factors) if is_left_out else factors

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for earlier, later in pairwise(self.milestones):
            if not earlier < later:
                raise does_not_fit(
                    "milestones", f"{later} does not come after {earlier}: they must rise"
                )
        if len(self.factors) != len(self.milestones) + 1:
            raise does_not_fit(
                "factors",
                f"{len(self.factors)} factors for {len(self.milestones)} milestones: give one for "
                "each, or one more that holds before the first",
            )
        return self

    def at(self, tau: Array) -> Array:
        passed = np.searchsorted(np.array(self.milestones), tau + HAIR, side="right")
        return np.array(self.factors)[passed]

    def statements(self, end: float) -> list[str]:  # noqa: ARG002
        passed = f"bisect.bisect_right({self.milestones!r}, tau + {HAIR!r})"
        return [f"v = {self.factors!r}[{passed}]"]

    @classmethod
    def proposed(cls, params: Mapping[str, float], decay_steps: float) -> Self:
        first, rate = params["first_drop"], params["rate"]
        second = first + (1.0 - first) * params["second_drop"]
        return cls(
            milestones=(first * decay_steps, second * decay_steps),
            factors=(1.0, rate, rate * rate),
        )

    def boundaries(self, length: float) -> list[float]:  # noqa: ARG002 - later ones are left out
        return [milestone - self.offset for milestone in self.milestones[:_MAX_BOUNDARIES]]
