"""A job: what to train, what to minimise, how much to spend, and what to compare with."""

import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from lrtuner.document import ScheduleDocument
from lrtuner.lifecycle import TrialState
from lrtuner.range_test import Kind
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schedules.grammar import MAX_STEPS
from lrtuner.schedules.table import MAX_VALUES
from lrtuner.sources import DatasetSource, ModelSource, Optimizer, mismatch, split_sizes
from lrtuner.strict import Strict, does_not_fit

DEFAULT_PAIRS = 5

MIN_FULL_RUNS = 3
"""A search below this could not even try a schedule beside its baseline."""

LEAST_ERROR = 1e-3
"""A smaller share of errors counts as this: no error among some hundred examples is not infinitely
better than one."""

LEAST_LOSS = 1e-9
"""A smaller loss counts as this: in single precision that of a sure and right answer is 0."""

Comparison = Literal["schedule_free", "prodigy"]
"""Optimizers that need no schedule of their own."""

Metrics = Mapping[str, float | None]

Name = TypeVar("Name", bound=str)


def _known_families(value: Any) -> Any:
    unknown = [name for name in value if name not in SEARCHED] if isinstance(value, list) else []
    if unknown:
        what = "cannot search" if unknown[0] in FAMILIES else "unknown"
        raise ValueError(f"{what} family {unknown[0]!r}; known: {', '.join(SEARCHED)}")
    if isinstance(value, list) and len(set(value)) != len(value):
        raise ValueError("a family is named twice")
    return value


def _no_doubles(value: list[Name]) -> list[Name]:
    if len(set(value)) != len(value):
        raise ValueError("one is named twice")
    return value


def _no_nul(value: str) -> str:
    if "\x00" in value or not value.isprintable():
        raise ValueError("only printable characters are allowed")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Key = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_no_nul)]
Value = Annotated[str, Field(max_length=512), AfterValidator(_no_nul)]
Families = Annotated[
    Literal["all"] | Annotated[list[str], Field(min_length=1)], AfterValidator(_known_families)
]
PositiveLR = Annotated[float, Field(gt=0, le=1e6)]


class Training(Strict):
    """How each run trains. Exactly one of `epochs` and `steps` says how long."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    steps: Annotated[int, Field(ge=2, le=MAX_STEPS)] | None = None
    precision: Literal["float32"] = "float32"
    grad_clip_norm: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    def total_steps(self, num_train: int) -> int:
        """Updates in one full run over `num_train` examples; incomplete batches are dropped."""
        return self.steps or (self.epochs or 0) * self.steps_per_epoch(num_train)

    def steps_per_epoch(self, num_train: int) -> int:
        """Whole batches in one pass over `num_train` examples."""
        return num_train // self.batch_size


class Target(Strict):
    """What a run is to reach: at most so much validation loss, or at least so much accuracy."""

    metric: Literal["val_loss", "val_accuracy"]
    value: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.metric == "val_accuracy" and self.value > 1:
            raise does_not_fit("value", f"an accuracy is at most 1, got {self.value:g}")
        return self

    def reached(self, metrics: Metrics) -> bool:
        """Whether these metrics are as good as it, or better."""
        return self.gap(metrics) <= 0

    def gap(self, metrics: Metrics) -> float:
        """How far off it is, relative to itself; 0 or less where it is reached.

        loss / value - 1 for a loss, and the same of the share of errors for an accuracy. Infinity
        where the metric was not measured or is not finite.
        """
        found = metrics.get(self.metric)
        if found is None:
            return math.inf
        if self.metric == "val_loss":
            return (found - self.value) / self.value
        return (self.value - found) / max(1.0 - self.value, LEAST_ERROR)


class Objective(Strict):
    """The metric that decides, on the validation split, and which way is better.

    `steps_to_target` is the number of updates after which one of the run's evaluations is first as
    good as `target`, which it needs and nothing else has; the run ends there.
    """

    metric: Literal["val_loss", "val_accuracy", "steps_to_target"] = "val_loss"
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
        return -1.0 if self.metric == "val_accuracy" else 1.0

    @property
    def measured(self) -> Literal["val_loss", "val_accuracy"]:
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

        The loss itself; of an accuracy the share of errors, at least 0.001; the steps to a target,
        and (1 + gap) T of a run that did not reach it in T: more than any that did, and the more
        the farther off it ended. Infinity unless the run is complete.

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
        if value is None:
            return math.inf
        if self.metric == "val_accuracy":
            return max(1.0 - value, LEAST_ERROR)
        return max(value, LEAST_LOSS)


class Budget(Strict):
    """What may be spent: full-training equivalents, everything charged, and at most so long."""

    full_runs: Annotated[float, Field(gt=0, le=10_000)] = 30.0
    max_minutes: Annotated[float, Field(gt=0, le=100_000)] | None = None


class Search(Strict):
    """Which families to search, between which peak rates, how long, and how often to confirm.

    In the mode `range_test` nothing is searched: sweeps and probes alone say which peak to use. A
    full search needs a budget of at least 3 of its longest runs, a range test just more than 0.

    `sampler` proposes what the planned candidates leave out: `tpe` (a tree-structured Parzen
    estimator), `gp` (a Gaussian process) or `random`. `horizon_fraction` below 1 trains at most
    that share of the steps and carries the result to the full length. `compare` names optimizers
    without a schedule that the recommendation is compared with, one run each.
    """

    mode: Literal["full", "range_test"] = "full"
    families: Families = "all"
    lr_range: Annotated[list[PositiveLR], Field(min_length=2, max_length=2)] | None = None
    budget: Budget = Budget()
    confirm_pairs: Annotated[int, Field(ge=0, le=100)] = DEFAULT_PAIRS
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    horizon_fraction: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    compare: Annotated[list[Comparison], AfterValidator(_no_doubles)] = []

    @model_validator(mode="after")
    def _range_is_upright(self) -> Self:
        if self.lr_range and not self.lr_range[0] < self.lr_range[1]:
            low, high = self.lr_range
            raise ValueError(f"lr_range must be [low, high] with low < high, got [{low}, {high}]")
        return self

    @model_validator(mode="after")
    def _budget_is_enough(self) -> Self:
        least = MIN_FULL_RUNS * self.horizon_fraction
        if self.mode == "full" and self.budget.full_runs < least:
            told = f"a full search needs at least {least:g}, got {self.budget.full_runs:g}"
            raise does_not_fit("budget.full_runs", told)
        return self

    def range_test_runs(self, share: float) -> float:
        """What a part of the range test may spend, in full-training equivalents.

        `share` is its share of a search's budget; alone, the range test may spend all of it.
        """
        return self.budget.full_runs * (1.0 if self.mode == "range_test" else share)

    def longest(self, total_steps: int) -> int:
        """The updates of the longest runs that the search may make, of `total_steps`."""
        return max(2, round(self.horizon_fraction * total_steps))

    @property
    def family_names(self) -> list[str]:
        """The families by name, `all` spelled out."""
        return list(SEARCHED) if self.families == "all" else list(self.families)


class RangeTest(Strict):
    """The sweep: `num_steps` rates from `min_lr` to `max_lr`, once per seed.

    `spacing` is `exponential` (equal factors) or `linear` (equal differences; few points at the low
    end). With `held_out` > 0 the loss on so many examples of the validation split, or on all if it
    has fewer, is measured after every update and is what the analysis reads; it costs a forward
    pass of them each time, so at most 1024. `probes` names the kinds of schedules that are probed,
    decaying ones first, as far as the budget goes.
    """

    min_lr: PositiveLR = 1e-6
    max_lr: PositiveLR = 10.0
    num_steps: Annotated[int, Field(ge=20, le=10_000)] = 100
    num_seeds: Annotated[int, Field(ge=1, le=20)] = 3
    spacing: Literal["exponential", "linear"] = "exponential"
    held_out: Annotated[int, Field(ge=0, le=1024)] = 0
    probes: Annotated[list[Kind], AfterValidator(_no_doubles)] = ["decaying", "constant"]

    @model_validator(mode="after")
    def _range_is_upright(self) -> Self:
        if not self.min_lr < self.max_lr:
            raise ValueError(f"min_lr {self.min_lr} must be below max_lr {self.max_lr}")
        return self


class JobSpec(Strict):
    """The body of `POST /v1/jobs` and the content of a JOB.json file."""

    name: Text | None = None
    model: ModelSource
    dataset: DatasetSource
    optimizer: Optimizer
    training: Training
    objective: Objective = Objective()
    search: Search = Search()
    range_test: RangeTest = RangeTest()
    baseline: ScheduleDocument | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    metadata: Annotated[dict[Key, Value], Field(max_length=32, default_factory=dict)]
    webhook: None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problem = mismatch(self.model, self.dataset)
        if problem:
            raise does_not_fit("model.name", problem)
        if self.objective.measured == "val_accuracy" and self.dataset.provides == {"tokens"}:
            field = "objective.target.metric" if self.objective.target else "objective.metric"
            raise does_not_fit(field, "val_accuracy needs a classification task")
        if self.dataset.num_examples is not None:
            self.total_steps(split_sizes(self.dataset.num_examples)[0])
        return self

    def total_steps(self, num_train: int) -> int:
        """The updates of a full run over `num_train` examples.

        Raises:
            PydanticCustomError: (a ValueError) the batch is larger than the training split, the run
                is shorter than 2 steps, or the baseline was made for another number of steps.
        """
        batch_size = self.training.batch_size
        if batch_size > num_train:
            raise does_not_fit(
                "training.batch_size",
                f"{batch_size} is larger than the training split ({num_train})",
            )
        steps = self.training.total_steps(num_train)
        if not 2 <= steps <= MAX_STEPS:
            raise does_not_fit(
                "training.epochs", f"a run of {steps} steps; 2 to {MAX_STEPS} are possible"
            )
        if self.baseline:
            self._check_baseline(self.baseline, steps)
        return steps

    def _check_baseline(self, baseline: ScheduleDocument, steps: int) -> None:
        lengths = {"step": steps, "epoch": self.training.epochs}
        length = lengths.get(baseline.unit)
        if length is None:
            told = "it must be step, or epoch where training.epochs is given"
            raise does_not_fit("baseline.unit", f"{baseline.unit!r} does not fit: {told}")
        if baseline.total_steps != length:
            raise does_not_fit(
                "baseline.total_steps",
                f"{baseline.total_steps}, but this job trains {length} {baseline.unit}s: "
                "rescale the schedule or change training",
            )
        if baseline.unit == "epoch" and steps > MAX_VALUES:
            told = f"'epoch' is for runs of at most {MAX_VALUES} steps, this one has {steps}"
            raise does_not_fit("baseline.unit", f"{told}: give the baseline in steps")


def search_seed(seed: int, index: int = 0) -> int:
    """The seed of the search's runs of one index: they share weights and the order of the data."""
    return derived_seed(seed, "search", index)


def derived_seed(*parts: int | str) -> int:
    """A 31-bit seed that depends on every part, and is the same in every process."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % (2**31 - 1)
