"""What was measured: runs, curves, sweeps and the machine they ran on. Stored and shown as is."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lrtuner.lifecycle import Stage, TrialState
from lrtuner.schedules.grammar import Schedule
from lrtuner.strict import Record


def rates_digest(rates: Sequence[float]) -> str:
    """SHA-256 of `rates` as little-endian float64: equal only for bit-equal rates."""
    return "sha256:" + hashlib.sha256(np.asarray(rates, dtype="<f8").tobytes()).hexdigest()


class Failure(Record):
    """Why something ended early: a stable code and a sentence for people."""

    code: str
    message: str


class LossCurve(Record):
    """Training loss averaged over the updates since the previous point, and the validation metrics.

    `steps` are numbers of finished updates (1..T); the lists are equally long. Null: not finite.
    """

    steps: list[int]
    train_loss: list[float | None]
    val_loss: list[float | None]


Purpose = Literal["peak", "screen", "rung", "final", "recommended", "reference", "comparison"]


class TrialRecord(Record):
    """One training run: what was asked, what it gave, what it cost.

    `purpose` says why it ran: to find the `peak` of the baseline's shape, to `screen` candidates
    over the shortest horizon, on a longer `rung`, as a `final` over the whole one, as one side of a
    confirmation pair (`recommended`, `reference`), or with an optimizer for `comparison`. `origin`
    says who proposed it. The horizon is that of its `schedule`.

    `shape` names the schedule but for its peak and its horizon, `arm` the whole schedule: runs of
    the same arm differ in their seed only. `value` is the metric that decides.

    `cost` is what was spent, in full-training equivalents, evaluation included; `alone` what the
    run would have cost had it not shared its beginning with others. `gradient_norms`, where they
    were measured, are the mean norms over equal parts of the run. `rates_digest` is the SHA-256 of
    the rates that the updates were really made with, as little-endian float64.
    """

    number: int
    phase: Stage
    purpose: Purpose
    origin: str = ""
    shape: str = ""
    arm: str
    params: dict[str, Any] | None = None
    schedule: Schedule
    seed: int
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    metrics: dict[str, float | None] = {}
    curve: LossCurve | None = None
    gradient_norms: list[float] | None = None
    updates: int = 0
    rates_digest: str | None = None
    cost: float = 0.0
    alone: float = 0.0
    seconds: float | None = None
    error: Failure | None = None


class Progress(Record):
    """How far a job is. `budget_spent` is in full-training equivalents."""

    phase: Stage
    trials_finished: int
    budget_spent: float
    budget: float
    best: float | None = None


class Environment(Record):
    """The machine and the versions that the numbers come from.

    `walls` are what stood between the code that trained and the worker; none where both were one.
    `dataset_bytes` is what the data takes as tensors, and `dataset_streamed` whether it was paged
    in from disk instead of preloaded.
    `libraries` are the versions of those that model or data come from.
    """

    python: str
    torch: str
    optuna: str
    lrtuner: str
    platform: str
    device: str
    threads: int
    dataset_digest: str
    walls: list[str] = []
    dataset_bytes: int | None = None
    dataset_streamed: bool = False
    libraries: dict[str, str] = {}
