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


class TrialRecord(Record):
    """One training run: what was asked, what it gave, what it cost.

    `purpose` says why it ran: a candidate of the `search`, a tuning run of the `baseline`, a
    `finalist` on another seed, or one side of a confirmation pair (`recommended`, `reference`).
    `arm` names the schedule within the job: runs of the same arm differ in their seed only.
    `cost` is in full-training equivalents, evaluation included. `rates_digest` is the SHA-256 of
    the rates that the updates were really made with, as little-endian float64.
    """

    number: int
    phase: Stage
    purpose: Literal["search", "baseline", "finalist", "recommended", "reference"]
    arm: str
    params: dict[str, Any] | None = None
    schedule: Schedule
    seed: int
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    metrics: dict[str, float | None] = {}
    curve: LossCurve | None = None
    updates: int = 0
    rates_digest: str | None = None
    cost: float = 0.0
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
    """The machine and the versions that the numbers come from."""

    python: str
    torch: str
    optuna: str
    lrtuner: str
    platform: str
    device: str
    threads: int
    dataset_digest: str
