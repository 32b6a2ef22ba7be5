"""Runs: the plain loop, with the learning rate of every update written from the schedule."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lrtuner.budget import evaluation_steps, run_cost
from lrtuner.evidence import LossCurve
from lrtuner.lifecycle import TrialState
from lrtuner.objective import Target
from lrtuner.trunks import Stretch, prefix_tree
from worker.data import Split
from worker.feed import Feed
from worker.sizes import Sizes
from worker.snapshot import Subject, restored
from worker.task import Task
from worker.updates import MAX_SKIPPED, Updates

CHECK_EVERY = 25
"""Updates between two looks at the losses: each look waits for the device."""

DIVERGENCE_FACTOR = 4.0
"""A run is stopped when the mean loss since the last look is so many times the first loss."""

NORM_PARTS = 256
"""Into so many means the gradient norms of a longer run are condensed: enough for their course."""


@dataclass
class Run:
    """What one training gave: `rates` as the optimizer had them, `metrics` as last evaluated.

    `cost`, in full-training equivalents, and `seconds` are what was spent for this run. Updates and
    evaluations that several runs have in common are charged once, to the first of them that had not
    ended: over all runs they sum to what was really spent, updates that a grad scaler skipped
    included. `alone` is what the run would have cost by itself.

    `gradient_norms`, where they were asked for and the run has made all its updates, are the norms
    of the whole gradient before it is clipped, of the optimizer's `norm_order`: one for each
    update, in runs of more than 256 the means over 256 parts whose lengths differ by 1 at most.
    """

    state: TrialState
    updates: int
    rates: list[float]
    cost: float
    alone: float
    seconds: float
    curve: LossCurve
    metrics: dict[str, float | None] = field(default_factory=dict)
    gradient_norms: list[float] | None = None
    reason: str | None = None


def train(
    task: Task,
    rates: Sequence[float],
    seed: int,
    *,
    test: bool = False,
    norms: bool = False,
    target: Target | None = None,
) -> Run:
    """Train a fresh model for `len(rates)` updates; update t + 1 uses `rates[t]`.

    Everything random (weights, data order, dropout) follows from `seed`. Two things end a run
    early: divergence, which is a loss that is not finite or that has grown to several times its
    first value; and an evaluation at which `target` is reached. With a target there are more of
    these.

    Args:
        task: what is trained.
        rates: of all updates.
        seed: of the run.
        test: whether to evaluate the test split at the end.
        norms: whether to measure gradient norms; the training is the same bit for bit.
        target: what to train for; None for as long as there are rates.
    """
    [(_, run)] = train_together(task, [rates], seed, test=test, norms=norms, target=target)
    return run


def train_together(
    task: Task,
    sequences: Sequence[ArrayLike],
    seed: int,
    *,
    test: bool = False,
    norms: bool = False,
    target: Target | None = None,
) -> Iterator[tuple[int, Run]]:
    """Train a run for each sequence of rates, and what several of them start with only once.

    Each is the run that `train` makes of its rates: bit for bit on the CPU, `cost` and `seconds`
    apart. Yields positions in `sequences` and their runs, each as soon as it ends.

    Where runs part, the state is kept until all but the last branch, in the order of `sequences`,
    have been trained. So least is kept at a time where those that leave early come first: of
    cooldowns the longest. Whatever the model raises is raised here and ends all runs that are left.

    Args:
        task: what is trained.
        sequences: one or more sequences of at least one rate each; their lengths may differ.
        seed: the seed of every run.
        test: whether to evaluate the test split at the end of each run.
        norms: whether to measure gradient norms.
        target: what to train for.
    """
    training = _Training(task, sequences, seed, test=test, norms=norms, target=target)
    devices = [task.device] if task.device.type == "cuda" else []
    for ended in training.grow(prefix_tree(sequences)):
        # what happens between two runs neither moves the generators nor counts as training
        with torch.random.fork_rng(devices):
            yield ended
        training.charged_until = time.monotonic()


class _Training:
    """One model on its way through the tree, and the journeys that it makes for the runs."""

    def __init__(
        self,
        task: Task,
        sequences: Sequence[ArrayLike],
        seed: int,
        *,
        test: bool,
        norms: bool,
        target: Target | None,
    ) -> None:
        self.charged_until = time.monotonic()
        self.task, self.seed, self.test, self.norms = task, seed, test, norms
        self.sequences = [np.asarray(rates, dtype=np.float64).tolist() for rates in sequences]
        self.journeys = [
            _Journey(i, task, len(rates), target) for i, rates in enumerate(self.sequences)
        ]
        self.model = task.model(seed)
        self.optimizer = task.optimizer(self.model, lr=self.sequences[0][0])
        self.parameters = list(self.model.parameters())
        self.updates = Updates(
            self.model,
            self.optimizer,
            task.precise_loss,
            task.grad_accum,
            task.scaler(),
            self._gradient_norm if norms else None,
        )
        self.ema = task.ema(self.model)
        longest = max(map(len, self.sequences))
        self.feed = Feed(task, seed, task.grad_accum * longest)
        others = (self.feed, self.updates.scaler, self.ema)
        kept = tuple(other for other in others if other is not None)
        self.subject = Subject(self.model, self.optimizer, kept)

    def grow(self, stretch: Stretch) -> Iterator[tuple[int, Run]]:
        """Train a stretch and all that follows it; yields the runs as they end."""
        yield from self._train(stretch)
        branches = [branch for branch in stretch.branches if self._going(branch)]
        for branch in branches[:-1]:
            with restored(self.subject):
                yield from self.grow(branch)
        if branches:
            yield from self.grow(branches[-1])

    def _train(self, stretch: Stretch) -> Iterator[tuple[int, Run]]:
        """Train one stretch, for as long as it has a run that has not ended."""
        rates = self.sequences[stretch.runs[0]]
        updates = stretch.start
        for stop in self._stops(stretch):
            going = self._going(stretch)
            if not going:
                return
            self._update(rates[updates:stop], going)
            self._evaluate(going)
            yield from ((j.position, j.run()) for j in going if j.ended)
            updates = stop

    def _stops(self, stretch: Stretch) -> list[int]:
        """After how many updates one of the runs looks at its losses or is evaluated."""
        stops = {stretch.stop, *range(0, stretch.stop, CHECK_EVERY)}
        stops.update(*(self.journeys[run].evaluate_after for run in stretch.runs))
        return sorted(stop for stop in stops if stretch.start < stop <= stretch.stop)

    def _going(self, stretch: Stretch) -> list["_Journey"]:
        return [self.journeys[run] for run in stretch.runs if not self.journeys[run].ended]

    def _update(self, rates: Sequence[float], journeys: Sequence["_Journey"]) -> None:
        """Make an update at each of the rates, and tell the journeys."""
        used: list[float] = []
        losses: list[Tensor] = []  # on the device, not looked at yet
        norms: list[Tensor] = []
        before = self.updates.attempts
        for rate in rates:
            made = self.updates.make(rate, self.feed)
            if made is None:
                break
            used.append(self.updates.rate)
            losses.append(made[0])
            if made[1] is not None:
                norms.append(made[1])
            if self.ema:
                self.ema.update()
        fresh = torch.stack(losses).tolist() if losses else []
        fresh_norms = torch.stack(norms).tolist() if norms else []
        attempts = self.updates.attempts - before
        for journey in journeys:
            journey.attempts += attempts
            if used:
                journey.go_on(used, fresh, fresh_norms)
            if len(used) < len(rates):
                journey.give_up()
        journeys[0].charge(updates=attempts, seconds=self._uncharged())

    def _gradient_norm(self) -> Tensor:
        # one flat copy is 1 to 5 times faster on the CPU than a norm of each tensor
        flat = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        l1 = self.task.spec.optimizer.norm_order == 1
        norm: Tensor = flat.abs_().sum() if l1 else torch.linalg.vector_norm(flat)
        return norm

    def _evaluate(self, journeys: Sequence["_Journey"]) -> None:
        asking = [j for j in journeys if j.at_point and not j.reason]
        if not asking:
            return
        task = self.task
        average = self.ema.evaluated() if self.ema else nullcontext()
        with task.evaluating(self.model, self.optimizer, self.seed), average, task.autocast():
            self._measure("val", task.data.validation, task.examples_per_evaluation, asking)
            if self.test:
                arrived = [j for j in asking if j.ended and not j.reason]
                self._measure("test", task.data.test, len(task.data.test), arrived)

    def _measure(
        self, name: str, split: Split, examples: int, asking: Sequence["_Journey"]
    ) -> None:
        """Evaluate a split, for which `examples` are seen, where a journey asks for it."""
        if not asking:
            return
        measured = self.task.evaluate(self.model, split)
        for journey in asking:
            journey.measured(name, measured, examples)
        asking[0].charge(evaluated=examples, seconds=self._uncharged())

    def _uncharged(self) -> float:
        """Seconds since the last call."""
        before, self.charged_until = self.charged_until, time.monotonic()
        return self.charged_until - before


class _Journey:
    """Losses and evaluations of one run as it goes; decides whether it ends early."""

    def __init__(self, position: int, task: Task, steps: int, target: Target | None) -> None:
        self.position, self.task, self.steps, self.target = position, task, steps, target
        self.evaluate_after = set(_evaluated_after(task, steps, target))
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.since_look: list[float] = []
        self.since_point: list[float] = []
        self.first_loss = math.nan
        self.points: list[tuple[int, float, float]] = []
        self.attempts = self.evaluated = self.charged_updates = self.charged_evaluated = 0
        self.seconds = 0.0
        self.metrics: dict[str, float | None] = {}
        self.reason: str | None = None
        self.reached = False

    @property
    def updates(self) -> int:
        return len(self.rates)

    @property
    def at_point(self) -> bool:
        return self.updates in self.evaluate_after

    @property
    def ended(self) -> bool:
        return self.reason is not None or self.reached or self.updates == self.steps

    def go_on(
        self, rates: Sequence[float], losses: Sequence[float], norms: Sequence[float]
    ) -> None:
        """Take note of updates; look at the losses where this run does, whoever shares them."""
        if not self.rates:
            self.first_loss = losses[0]
        self.rates += rates
        self.norms += norms
        self.since_look += losses
        self.since_point += losses
        if self.at_point or self.updates % CHECK_EVERY == 0:
            self._look()

    def give_up(self) -> None:
        """Take note that the scaler let no further update through."""
        self.reason = self.reason or (
            f"gradients not finite {MAX_SKIPPED} times in a row after update {self.updates}"
        )

    def measured(self, name: str, values: dict[str, float], examples: int) -> None:
        """Take note of an evaluation of the split `name`."""
        self.evaluated += examples
        self.metrics |= {f"{name}_{key}": finite_or_none(value) for key, value in values.items()}
        if name == "val":
            self._add_point(values["loss"])
            self.reached = self.target is not None and self.target.reached(self.metrics)

    def charge(self, *, updates: int = 0, evaluated: int = 0, seconds: float) -> None:
        """Take note of what was spent for this run."""
        self.charged_updates += updates
        self.charged_evaluated += evaluated
        self.seconds += seconds

    def run(self) -> Run:
        state = TrialState.DIVERGED if self.reason else TrialState.COMPLETE
        steps, train, validation = zip(*self.points, strict=True) if self.points else ((), (), ())
        return Run(
            state=state,
            updates=self.updates,
            rates=self.rates,
            cost=self._cost(self.charged_updates, self.charged_evaluated),
            alone=self._cost(self.attempts, self.evaluated),
            seconds=self.seconds,
            curve=LossCurve(
                steps=list(steps),
                train_loss=[finite_or_none(x) for x in train],
                val_loss=[finite_or_none(x) for x in validation],
            ),
            metrics=self.metrics,
            gradient_norms=self._condensed_norms(),
            reason=self.reason,
        )

    def _condensed_norms(self) -> list[float] | None:
        if not self.norms or self.reason or self.updates < self.steps:
            return None
        parts = np.array_split(self.norms, min(NORM_PARTS, self.updates))
        return [float(np.mean(part)) for part in parts]

    def _cost(self, updates: int, evaluated: int) -> float:
        return run_cost(updates, evaluated, self.task.examples_per_update, self.task.total_steps)

    def _look(self) -> None:
        fresh, self.since_look = self.since_look, []
        before = self.updates - len(fresh)
        broken = next((i for i, loss in enumerate(fresh) if not math.isfinite(loss)), None)
        if broken is not None:
            self.reason = f"loss not finite at update {before + broken + 1}"
            return
        mean = math.fsum(fresh) / len(fresh)
        if mean > DIVERGENCE_FACTOR * self.first_loss:
            self.reason = (
                f"mean loss {mean:.4g} over updates {before + 1} to {self.updates} is over "
                f"{DIVERGENCE_FACTOR:g} times the first loss {self.first_loss:.4g}"
            )

    def _add_point(self, loss: float) -> None:
        train_loss = math.fsum(self.since_point) / len(self.since_point)
        self.since_point.clear()
        self.points.append((self.updates, train_loss, loss))
        if not math.isfinite(loss):
            self.reason = f"validation loss not finite after update {self.updates}"


def full_cost(
    task: Sizes, *, test: bool, target: Target | None = None, steps: int | None = None
) -> float:
    """The cost in FTE of a run to its end, its evaluations included; with a target the most.

    The run is over `steps` updates, or the whole horizon.
    """
    steps = steps or task.total_steps
    evaluated = task.examples_per_evaluation * len(_evaluated_after(task, steps, target))
    evaluated += len(task.data.test) if test else 0
    return run_cost(steps, evaluated, task.examples_per_update, task.total_steps)


def _evaluated_after(task: Sizes, steps: int, target: Target | None) -> list[int]:
    """After how many updates a run of so many steps is evaluated."""
    size = task.examples_per_evaluation
    return evaluation_steps(steps, task.examples_per_update, size, to_target=target is not None)


def finite_or_none(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
