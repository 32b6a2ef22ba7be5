"""Reduce on plateau: the schedule that reacts to a metric instead of following the clock."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from lrtuner.schedules._base import Factor
from lrtuner.strict import Strict


class Plateau(Strict):
    """The rate is multiplied by `factor` when `monitor` has not improved for long enough.

    The metric is looked at once per unit of time (epoch or step). A value improves on the best so
    far b if it is below b (1 - threshold) (`rel`) or b - threshold (`abs`); in mode `max` above
    b (1 + threshold) or b + threshold. NaN never improves. When more than `patience` values in a
    row did not improve, the factor drops and the next `cooldown` values are not counted as bad.
    It never falls below `min_factor` of the peak.

    This is torch's `ReduceLROnPlateau`: it drops at the (patience + 1)-th bad value. Keras and
    optax drop at the patience-th, so theirs is `patience` + 1. `mode` and `monitor` have no
    default: a wrong guess would raise no error and ruin the training.
    """

    family: Literal["plateau"] = Field(default="plateau", description="Which family it is.")
    mode: Literal["min", "max"] = Field(description="Which way the metric is better.")
    monitor: Annotated[
        str, Field(pattern=r"^[\w./:-]{1,100}$", description="The name of the metric.")
    ]
    factor: Annotated[
        float, Field(gt=0, lt=1, description="What the rate is multiplied by when it drops.")
    ] = 0.1
    patience: Annotated[
        int,
        Field(ge=0, le=1_000_000_000, description="So many bad values in a row change nothing."),
    ] = 10
    threshold: Annotated[
        float, Field(ge=0, le=1e12, description="How much better counts as better.")
    ] = 1e-4
    threshold_mode: Literal["rel", "abs"] = Field(
        default="rel", description="Whether `threshold` is a share of the best value, or absolute."
    )
    cooldown: Annotated[
        int, Field(ge=0, le=1_000_000_000, description="So many values after a drop do not count.")
    ] = 0
    min_factor: Factor = 0.0

    def factors(self, values: Iterable[float]) -> list[float]:
        """The factor of the peak after each value of the metric."""
        rule = PlateauRule(self)
        return [rule.step(value) for value in values]


class PlateauRule:
    """The rule at work: `step(value)` takes the next value of the metric and gives the factor."""

    def __init__(self, plateau: Plateau) -> None:
        self.plateau = plateau
        self.factor = 1.0
        self.best = float("inf") if plateau.mode == "min" else -float("inf")
        self.bad = 0
        self.cooling = 0

    def step(self, value: float) -> float:
        """Take the next value of the metric; the factor of the peak from now on."""
        told = self.plateau
        if self._improves(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > told.patience:
            self.factor = max(self.factor * told.factor, told.min_factor)
            self.cooling, self.bad = told.cooldown, 0
        return self.factor

    def _improves(self, value: float) -> bool:
        sign = 1.0 if self.plateau.mode == "min" else -1.0
        margin = self.plateau.threshold
        if self.plateau.threshold_mode == "rel":
            return sign * value < sign * self.best * (1.0 - sign * margin)
        return sign * value < sign * self.best - margin
