"""A job: what to train, what to minimise, how much to spend, and what to compare with."""

import hashlib
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from lrtuner.document import ScheduleDocument
from lrtuner.losses import TASKS, AnyLoss, CrossEntropy, Loss, learned, misfit, usual_loss
from lrtuner.objective import MetricName, Objective, metric_of
from lrtuner.optimizers import COMPARED, OPTIMIZERS, Custom, Optimizer
from lrtuner.range_test import Kind
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schedules.grammar import MAX_STEPS
from lrtuner.schedules.table import MAX_VALUES
from lrtuner.sources import (
    Code,
    DatasetSource,
    Entrypoint,
    ModelSource,
    OwnData,
    mismatch,
    split_sizes,
)
from lrtuner.strict import Strict, does_not_fit
from lrtuner.training import Training
from lrtuner.webhook import Webhook

DEFAULT_PAIRS = 5

MIN_FULL_RUNS = 3
"""A search below this could not even try a schedule beside its baseline."""

Priority = Literal["low", "normal", "high"]

Comparison = Literal["schedule_free", "prodigy"]
"""Optimizers that need no schedule of their own."""

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
    """The body of `POST /v1/jobs` and the content of a JOB.json file.

    Of the jobs that wait, those of a higher `priority` run first. What has no recommendation
    `deadline_minutes` after it was submitted expires.
    """

    name: Text | None = None
    model: ModelSource
    dataset: DatasetSource = OwnData()
    optimizer: Optimizer
    training: Training
    loss: Loss | None = None
    metrics: Annotated[list[MetricName], AfterValidator(_no_doubles)] = []
    objective: Objective = Objective()
    search: Search = Search()
    range_test: RangeTest = RangeTest()
    baseline: ScheduleDocument | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    priority: Priority = "normal"
    deadline_minutes: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    metadata: Annotated[dict[Key, Value], Field(max_length=32, default_factory=dict)]
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check_fit()
        return self

    def _check_fit(self) -> None:
        if isinstance(self.dataset, OwnData) and not isinstance(self.model, Code | Entrypoint):
            told = "the job needs one: only code as the model may bring its own data"
            raise does_not_fit("dataset", told)
        problem = mismatch(self.model, self.dataset)
        if problem:
            raise does_not_fit("model.name", problem)
        problem = misfit(self.trained_loss, self.dataset)
        if problem:
            raise does_not_fit("loss.name", problem)
        self._check_custom()
        self._check_weights()
        self._check_compare()
        field = "objective.target.metric" if self.objective.target else "objective.metric"
        self._check_metric(field, self.objective.measured)
        for index, name in enumerate(self.metrics):
            self._check_metric(f"metrics.{index}", name)
        if self.dataset.num_examples is not None:
            self.total_steps(split_sizes(self.dataset.num_examples)[0])

    def on(self, args: Strict) -> Self:
        """The job with other arguments of its dataset, checked again.

        Raises:
            PydanticCustomError: (a ValueError) what was not known before does not fit together.
        """
        dataset = self.dataset.model_copy(update={"args": args})
        job = self.model_copy(update={"dataset": dataset})
        job._check_fit()
        return job

    def _check_custom(self) -> None:
        if not isinstance(self.optimizer, Custom):
            return
        if not isinstance(self.model, Code | Entrypoint):
            told = "'custom' is made by code; name one of " + ", ".join(OPTIMIZERS)
            raise does_not_fit("optimizer.name", told)
        for name in ("param_groups", "no_decay"):
            if getattr(self.training, name):
                told = "with optimizer 'custom' the code makes the groups: leave it out"
                raise does_not_fit(f"training.{name}", told)

    def _check_weights(self) -> None:
        loss = self.trained_loss
        weighted = isinstance(loss, CrossEntropy) and loss.args.class_weights
        if weighted and self.dataset.targets == "tokens":
            told = "a language model has no classes to weigh"
            raise does_not_fit("loss.args.class_weights", told)

    def _check_compare(self) -> None:
        if self.search.compare and not isinstance(self.optimizer, COMPARED):
            names = ", ".join(kind.model_fields["name"].default for kind in COMPARED)
            told = f"nothing there stands for {self.optimizer.name!r}, only for {names}"
            raise does_not_fit("search.compare", told)
        ratios = [group.lr_ratio for group in self.training.param_groups]
        if "prodigy" in self.search.compare and min(ratios, default=1.0) < 1:
            told = "prodigy has one rate for all parameters, no lr_ratio: leave it out"
            raise does_not_fit("search.compare", told)

    def _check_metric(self, field: str, name: str) -> None:
        kind, fits = learned(self.trained_loss, self.dataset), metric_of(name).fits
        if kind is not None and kind not in fits:
            needed = " or ".join(sorted(TASKS[fitting] for fitting in fits))
            raise does_not_fit(field, f"{name} needs a task of {needed}, this is {TASKS[kind]}")

    @property
    def trained_loss(self) -> AnyLoss:
        """The loss that is trained: the job's own, or the usual one of its dataset."""
        return self.loss or usual_loss(self.dataset)

    @property
    def measured(self) -> list[str]:
        """The metrics that are measured beside the loss: the objective's, and those asked for."""
        names = [self.objective.measured.removeprefix("val_"), *self.metrics]
        return [name for name in dict.fromkeys(names) if name != "loss"]

    def total_steps(self, num_train: int) -> int:
        """The updates of a full run over `num_train` examples.

        Raises:
            PydanticCustomError: (a ValueError) the batch is larger than the training split, the run
                is shorter than 2 steps, or the baseline was made for another number of steps.
        """
        training = self.training
        if training.examples_per_update > num_train:
            times = f" x grad_accum {training.grad_accum}" if training.grad_accum > 1 else ""
            raise does_not_fit(
                "training.batch_size",
                f"{training.batch_size}{times} is larger than the training split ({num_train})",
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
