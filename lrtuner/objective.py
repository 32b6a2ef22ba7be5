"""What decides between runs: a metric on the validation split, or how soon a target is reached."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lrtuner.lifecycle import TrialState
from lrtuner.metrics import METRICS, Metric
from lrtuner.strict import Strict, does_not_fit

MetricName = Literal["accuracy", "f1", "auc", "mse", "mae", "r2", "perplexity"]

Measured = Literal[
    "val_loss",
    "val_accuracy",
    "val_f1",
    "val_auc",
    "val_mse",
    "val_mae",
    "val_r2",
    "val_perplexity",
]
"""The loss or a metric on the validation split."""

Metrics = Mapping[str, float | None]


class Target(Strict):
    """What a run is to reach: at most so much validation loss, or at least so much accuracy."""

    metric: Measured
    value: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if metric_of(self.metric).maximized and self.value > 1:
            name = self.metric.removeprefix("val_")
            raise does_not_fit("value", f"{name} is at most 1, got {self.value:g}")
        if self.metric == "val_perplexity" and self.value <= 1:
            raise does_not_fit("value", f"perplexity is always above 1, got {self.value:g}")
        return self

    def reached(self, metrics: Metrics) -> bool:
        """Whether these metrics are as good as it, or better."""
        return self.gap(metrics) <= 0

    def gap(self, metrics: Metrics) -> float:
        """How far off it is, relative to itself; 0 or less where it is reached.

        loss / value - 1 for a loss, and the same of the share of errors for an accuracy (see
        `lrtuner.metrics`). Infinity where the metric was not measured or is not finite.
        """
        found = metrics.get(self.metric)
        return math.inf if found is None else metric_of(self.metric).gap(found, self.value)


class Objective(Strict):
    """The metric that decides, on the validation split, and which way is better.

    `steps_to_target` is the number of updates after which one of the run's evaluations is first as
    good as `target`, which it needs and nothing else has; the run ends there.
    """

    metric: Measured | Literal["steps_to_target"] = "val_loss"
    direction: Literal["minimize", "maximize"] | None = None
    target: Target | None = None

    @model_validator(mode="after")
    def _direction_fits(self) -> Self:
        natural = "minimize" if self.sign > 0 else "maximize"
        if self.direction not in (None, natural):
            raise ValueError(f"{self.metric} can only be {natural}d, not {self.direction}d")
        return self

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        if self.metric == "steps_to_target" and self.target is None:
            raise does_not_fit("target", "steps_to_target needs a target: a metric and its value")
        if self.metric != "steps_to_target" and self.target is not None:
            raise does_not_fit("target", f"{self.metric} has no target; steps_to_target has one")
        return self

    @property
    def sign(self) -> float:
        """+1 when smaller is better, -1 when larger is."""
        counted = self.metric == "steps_to_target"
        return 1.0 if counted or not metric_of(self.measured).maximized else -1.0

    @property
    def measured(self) -> Measured:
        """The metric that is measured: the target's, or the one that decides itself."""
        if self.metric == "steps_to_target":
            return self.target.metric if self.target else "val_loss"
        return self.metric

    @property
    def compressible(self) -> bool:
        """Whether what a schedule gives over fewer steps says what it gives over all of them.

        Not so for `steps_to_target`. A compressed schedule decays sooner and ends where the target
        may be out of reach; and where it is reached, the steps are those of another schedule.
        """
        return self.metric != "steps_to_target"

    def value(self, metrics: Metrics, updates: int) -> float | None:
        """What a run that trained to its end is worth, in the unit of `metric`.

        Args:
            metrics: as last evaluated, after `updates` updates.
            updates: of the run, which ended where it reached the target.

        Returns:
            None where a target was not reached.
        """
        if self.target is None:
            return metrics[self.metric]
        return float(updates) if self.target.reached(metrics) else None

    def loss(
        self, state: TrialState, value: float | None, metrics: Metrics, total_steps: int
    ) -> float:
        """A positive number, less is better, whose ratios a search ranks by.

        The loss itself; what `lrtuner.metrics` makes of another metric, such as the share of errors
        of an accuracy; the steps to a target, and (1 + gap) T of a run that did not reach it in T:
        more than any that did, and the more the farther off it ended. Infinity unless the run is
        complete.

        Args:
            state: of the run.
            value: see `value`.
            metrics: as last evaluated.
            total_steps: T, the horizon of the run's schedule.
        """
        if state is not TrialState.COMPLETE:
            return math.inf
        if self.target:
            return (1.0 + self.target.gap(metrics)) * total_steps if value is None else value
        return math.inf if value is None else metric_of(self.measured).loss(value)


def metric_of(name: str) -> Metric:
    """The metric of that name, with `val_` before it or without."""
    return METRICS[name.removeprefix("val_")]
