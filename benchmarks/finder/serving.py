"""A finder's process: asked by one JSON file, answers with another.

    python -m benchmarks.finder.peers.NAME REQUEST REPLY

Runs in the finder's own environment, with what is needed to read a task beside it.
"""

import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.finder.scoring import SCHEDULES
from benchmarks.finder.tasks import load
from worker.task import Task

Suggestion = float | None | Mapping[str, float | None]
"""One peak rate for every schedule, or one for each."""


@dataclass(frozen=True)
class Costly:
    """A suggestion for which more was trained than the sweep: `cost` in whole trainings."""

    suggestion: Suggestion
    cost: float


@dataclass(frozen=True)
class Lengths:
    """A sweep of `points` rates, from `low` to `high`."""

    points: int
    low: float
    high: float


@dataclass(frozen=True)
class Request:
    """What a finder is asked for: sweeps of all lengths on all tasks and seeds, and its speed."""

    tasks: Sequence[str]
    lengths: Sequence[Lengths]
    seeds: int
    rounds: int
    timed: Lengths


@dataclass(frozen=True)
class Sweep:
    """One sweep to make. The seed says weights, order of the batches and dropout."""

    task: Task
    seed: int
    lengths: Lengths

    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The training split in whole, shuffled batches, as one writes it by hand."""
        train = self.task.data.train
        return DataLoader(
            TensorDataset(train.inputs, train.targets),
            batch_size=self.task.batch_size,
            shuffle=True,
            drop_last=True,
        )

    def model_and_optimizer(self) -> tuple[nn.Module, optim.Optimizer]:
        """Fresh ones, with torch's generator seeded and the optimizer at the lowest rate."""
        model = self.task.model(self.seed)
        return model, self.task.optimizer(model, self.lengths.low)


@dataclass(frozen=True)
class Swept:
    """What came of it: the curve as the finder recorded it, and its rules by name.

    `updates` is how many were really made. A rule that raises suggests nothing. `status` is what
    the finder itself says of the curve.
    """

    lrs: Sequence[float]
    losses: Sequence[float | None]
    updates: int
    rules: Mapping[str, Callable[[], Suggestion | Costly]]
    status: str | None = None


def criterion(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss that every task trains on, of its model's outputs."""
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


def serve(finder: Callable[[Sweep], Swept], rules: Sequence[str]) -> None:
    """Read the request, try the finder, write the reply."""
    request_file, reply_file = map(Path, sys.argv[1:])
    asked = json.loads(request_file.read_text())
    lengths = [Lengths(**one) for one in asked.pop("lengths")]
    request = Request(lengths=lengths, timed=Lengths(**asked.pop("timed")), **asked)
    reply = {
        "found": [
            _try(finder, rules, name, seed, one)
            for name in request.tasks
            for one in request.lengths
            for seed in range(request.seeds)
        ],
        "time": {name: _time(finder, load(name), request) for name in request.tasks},
    }
    reply_file.write_text(json.dumps(reply))


def _try(
    finder: Callable[[Sweep], Swept], rules: Sequence[str], task: str, seed: int, lengths: Lengths
) -> dict[str, Any]:
    told: dict[str, Any] = {"task": task, "seed": seed, **asdict(lengths), "errors": {}}
    try:
        swept = finder(Sweep(load(task), seed, lengths))
    except Exception as error:  # noqa: BLE001 - whatever a finder raises is its answer
        nothing = {rule: _rates(None) for rule in rules}
        return told | {"rates": nothing, "costs": {}, "errors": {"sweep": _told(error)}}
    told |= {"lrs": list(swept.lrs), "losses": [_finite(x) for x in swept.losses]}
    told |= {"updates": swept.updates, "status": swept.status, "rates": {}, "costs": {}}
    swept_cost = swept.updates / load(task).total_steps
    for rule in rules:
        try:
            answer = swept.rules[rule]()
        except Exception as error:  # noqa: BLE001
            answer = None
            told["errors"][rule] = _told(error)
        costly = answer if isinstance(answer, Costly) else Costly(answer, 0.0)
        told["rates"][rule] = _rates(costly.suggestion)
        told["costs"][rule] = swept_cost + costly.cost
    return told


def _time(finder: Callable[[Sweep], Swept], task: Task, request: Request) -> dict[str, float]:
    """Seconds per update of the finder's sweep over those of a bare loop, in alternating rounds."""
    ratios = []
    for seed in range(request.rounds + 1):
        sweep = Sweep(task, seed, request.timed)
        seconds = {}
        for loop in (_bare, finder) if seed % 2 else (finder, _bare):  # neither is always first
            began = time.perf_counter()
            updates = loop(sweep).updates
            seconds[loop] = (time.perf_counter() - began) / updates
        ratios.append(seconds[finder] / seconds[_bare])
    ratios = ratios[1:]  # the first round warms up
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _bare(sweep: Sweep) -> Swept:
    """The loop written by hand, without even a look at the loss."""
    model, optimizer = sweep.model_and_optimizer()
    loader = sweep.loader()
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    model.train()
    for inputs, targets in itertools.islice(batches, sweep.lengths.points):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
    return Swept([], [], sweep.lengths.points, {})


def _rates(suggestion: Suggestion) -> dict[str, float | None]:
    if not isinstance(suggestion, Mapping):
        suggestion = dict.fromkeys(SCHEDULES, suggestion)
    return {schedule: _usable(suggestion[schedule]) for schedule in SCHEDULES}


def _usable(lr: float | None) -> float | None:
    return float(lr) if lr is not None and math.isfinite(lr) and lr > 0 else None


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
