"""Whole trainings, each made once: a memo on disk of what every list of rates led to.

A line is added for each training as it comes, in a file named after everything that it depends on,
so an interrupted benchmark goes on where it stopped and strategies share what they both train.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.finder.tasks import digest
from lrtuner.budget import evaluation_steps, run_cost
from lrtuner.evidence import rates_digest
from lrtuner.lifecycle import TrialState
from worker.task import Task
from worker.training import Run, train, train_together

REPORTS = 8
"""How often a run is evaluated for a pruner, evenly along it."""


@dataclass(frozen=True)
class Trained:
    """What one run led to: the validation loss after each of `steps` updates.

    `updates` are those that were made: fewer than asked for where the run diverged. `test_loss` is
    None where it diverged or the test split was not evaluated.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    updates: int
    completed: bool
    test_loss: float | None = None

    @property
    def loss(self) -> float:
        """The validation loss at the end; infinite if it diverged."""
        return self.losses[-1] if self.completed else math.inf


class Trainings:
    """The trainings of one task: remembered in `folder`, or made."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task = task
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{digest(task)}.jsonl"
        self._known: dict[str, Trained] = {}
        self._read_up_to = 0

    def whole(self, rates: Sequence[float], seed: int) -> Trained:
        """A run evaluated at its end, on the test split too."""
        return self._remembered("whole", rates, seed, self._train_whole)

    def along(self, rates: Sequence[float], seed: int) -> Trained:
        """A run evaluated 8 times along its way, on the validation split only."""
        return self._remembered("along", rates, seed, self._train_along)

    def cost(self, updates: int) -> float:
        """What so many updates of a whole run cost, in full-training equivalents.

        With the evaluations that a trial of a job makes by then.
        """
        task, size = self.task, len(self.task.data.validation)
        made = [s for s in self._evaluation_steps(task.total_steps) if s <= updates]
        return run_cost(updates, size * len(made), task.batch_size, task.total_steps)

    def _train_whole(self, rates: Sequence[float], seed: int) -> Trained:
        run = train(self.task, rates, seed, test=True)
        completed = run.state is TrialState.COMPLETE
        curve = [
            (step, loss)
            for step, loss in zip(run.curve.steps, run.curve.val_loss, strict=True)
            if loss is not None
        ]
        return _trained(curve, run.updates, completed, run.metrics.get("test_loss"))

    def _train_along(self, rates: Sequence[float], seed: int) -> Trained:
        """The run and its own beginnings: each is evaluated where it ends, and trained once."""
        stops = sorted({max(1, len(rates) * i // REPORTS) for i in range(1, REPORTS + 1)})
        runs: dict[int, Run] = {}
        for position, run in train_together(self.task, [rates[:stop] for stop in stops], seed):
            runs[stops[position]] = run
        curve = [
            (stop, loss)
            for stop in stops
            if (loss := runs[stop].metrics.get("val_loss")) is not None
            and runs[stop].state is TrialState.COMPLETE
        ]
        last = runs[len(rates)]
        return _trained(curve, last.updates, last.state is TrialState.COMPLETE)

    def _remembered(
        self,
        kind: str,
        rates: Sequence[float],
        seed: int,
        make: Callable[[Sequence[float], int], Trained],
    ) -> Trained:
        key = self._key(kind, rates, seed)
        if key not in self._known:
            self._read()
        if key not in self._known:
            self._known[key] = make(rates, seed)
            with self._file.open("a") as file:  # one write a line: processes may share the file
                file.write(json.dumps({"key": key, **asdict(self._known[key])}) + "\n")
        return self._known[key]

    def _read(self) -> None:
        """What was added since the last look, by whichever process."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read_up_to)
            fresh = file.read()
        whole_lines = fresh[: fresh.rfind(b"\n") + 1]
        self._read_up_to += len(whole_lines)
        self._known |= dict(filter(None, map(_parsed, whole_lines.splitlines())))

    def _key(self, kind: str, rates: Sequence[float], seed: int) -> str:
        told = f"{kind} {self._evaluation_steps(len(rates))} {seed} {rates_digest(rates)}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def _evaluation_steps(self, steps: int) -> list[int]:
        return evaluation_steps(steps, self.task.batch_size, len(self.task.data.validation))


def _trained(
    curve: Sequence[tuple[int, float]],
    updates: int,
    completed: bool,
    test_loss: float | None = None,
) -> Trained:
    steps, losses = zip(*curve, strict=True) if curve else ((), ())
    return Trained(steps, losses, updates, completed, test_loss)


def _parsed(line: bytes) -> tuple[str, Trained] | None:
    """The key and the training; None where a process was ended in the middle of writing them."""
    try:
        known: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    key, steps, losses = (known.pop(name) for name in ("key", "steps", "losses"))
    return key, Trained(tuple(steps), tuple(losses), **known)
