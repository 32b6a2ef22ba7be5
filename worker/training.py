"""One run: the plain loop, with the learning rate of every update written from the schedule."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lrtuner.budget import evaluation_steps, run_cost
from lrtuner.evidence import LossCurve
from lrtuner.lifecycle import TrialState
from worker.data import Split
from worker.task import Task, evaluate, loss_of

CHECK_EVERY = 25
"""Updates between two looks at the losses: each look waits for the device."""

DIVERGENCE_FACTOR = 4.0
"""A run is stopped when the mean loss since the last look is so many times the first loss."""


@dataclass
class Run:
    """What one training gave: `rates` as the optimizer had them, `metrics` as last evaluated."""

    state: TrialState
    updates: int
    rates: list[float]
    cost: float
    seconds: float
    curve: LossCurve
    metrics: dict[str, float | None] = field(default_factory=dict)
    reason: str | None = None


def train(task: Task, rates: Sequence[float], seed: int, *, test: bool = False) -> Run:
    """Train a fresh model for `len(rates)` updates; update t + 1 uses `rates[t]`.

    Everything random (weights, data order, dropout) follows from `seed`. With `test` the test split
    is evaluated at the end too. Only divergence ends a run early: a loss that is not finite, or
    that has grown to several times its first value.
    """
    began = time.monotonic()
    model = task.model(seed)
    optimizer = task.optimizer(model, lr=rates[0])
    journey = _Journey(task, model, len(rates), test=test)
    for step, (inputs, targets) in enumerate(task.batches(seed, len(rates))):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, inputs, targets)
        loss.backward()
        optimizer.step()
        if not journey.goes_on(optimizer.param_groups[0]["lr"], loss.detach()):
            break
    return journey.run(time.monotonic() - began)


class _Journey:
    """Losses and evaluations of one run as it goes; decides whether it has diverged."""

    def __init__(self, task: Task, model: nn.Module, steps: int, *, test: bool) -> None:
        self.task, self.model, self.test = task, model, test
        size = len(task.data.validation)
        self.evaluate_after = set(evaluation_steps(steps, task.batch_size, size))
        self.rates: list[float] = []
        self.losses: list[Tensor] = []  # on the device, not looked at yet
        self.since_point: list[float] = []
        self.first_loss: float | None = None
        self.points: list[tuple[int, float, float]] = []
        self.updates = self.evaluated = 0
        self.metrics: dict[str, float | None] = {}
        self.reason: str | None = None

    def goes_on(self, rate: float, loss: Tensor) -> bool:
        """Take note of one update, made at `rate`; False when the run must end."""
        self.losses.append(loss)
        self.rates.append(rate)
        self.updates += 1
        at_point = self.updates in self.evaluate_after
        if not at_point and self.updates % CHECK_EVERY:
            return True
        if not self._look():
            return False
        return not at_point or self._evaluate()

    def run(self, seconds: float) -> Run:
        state = TrialState.DIVERGED if self.reason else TrialState.COMPLETE
        steps, train, validation = zip(*self.points, strict=True) if self.points else ((), (), ())
        return Run(
            state=state,
            updates=self.updates,
            rates=self.rates,
            cost=run_cost(
                self.updates, self.evaluated, self.task.batch_size, self.task.total_steps
            ),
            seconds=seconds,
            curve=LossCurve(
                steps=list(steps),
                train_loss=[finite_or_none(x) for x in train],
                val_loss=[finite_or_none(x) for x in validation],
            ),
            metrics=self.metrics,
            reason=self.reason,
        )

    def _look(self) -> bool:
        fresh = torch.stack(self.losses).tolist()
        self.losses.clear()
        self.since_point += fresh
        if self.first_loss is None:
            self.first_loss = fresh[0]
        mean = math.fsum(fresh) / len(fresh) if all(map(math.isfinite, fresh)) else math.nan
        if not math.isfinite(mean):
            first = next(i for i, loss in enumerate(fresh) if not math.isfinite(loss))
            return self._diverged(
                f"loss not finite at update {self.updates - len(fresh) + first + 1}"
            )
        if mean > DIVERGENCE_FACTOR * self.first_loss:
            return self._diverged(
                f"mean loss {mean:.4g} over updates {self.updates - len(fresh) + 1} to "
                f"{self.updates} is over {DIVERGENCE_FACTOR:g} times the first loss "
                f"{self.first_loss:.4g}"
            )
        return True

    def _evaluate(self) -> bool:
        measured = self._measure("val", self.task.data.validation)
        train_loss = math.fsum(self.since_point) / len(self.since_point)
        self.since_point.clear()
        self.points.append((self.updates, train_loss, measured["loss"]))
        if not math.isfinite(measured["loss"]):
            return self._diverged(f"validation loss not finite after update {self.updates}")
        if self.test and self.updates == max(self.evaluate_after):
            self._measure("test", self.task.data.test)
        return True

    def _measure(self, name: str, split: Split) -> dict[str, float]:
        measured = evaluate(self.model, split)
        self.evaluated += len(split)
        self.metrics |= {f"{name}_{k}": finite_or_none(value) for k, value in measured.items()}
        return measured

    def _diverged(self, reason: str) -> bool:
        self.reason = reason
        return False


def full_cost(task: Task, *, test: bool) -> float:
    """The cost in FTE of one whole run, its evaluations included."""
    size, steps = len(task.data.validation), task.total_steps
    evaluated = size * len(evaluation_steps(steps, task.batch_size, size))
    evaluated += len(task.data.test) if test else 0
    return run_cost(steps, evaluated, task.batch_size, steps)


def finite_or_none(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
